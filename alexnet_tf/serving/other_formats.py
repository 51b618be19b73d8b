"""A run's network as an ONNX or a LiteRT file: prepared pictures in, probabilities out.

For phones and for engines that are not TensorFlow. They know no picture files, so the preprocessing stays outside; the
version's README.md says how a picture is prepared.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tensorflow as tf

from alexnet_tf import quiet_start
from alexnet_tf.evaluation.probabilities import view_average
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.serving.faults import faults_of
from alexnet_tf.serving.metadata import write_metadata
from alexnet_tf.serving.versions import CLASSES_FILE, MODEL_FILES, README_FILE, STATISTICS_COPY, Report, new_version
from alexnet_tf.towers import Towers
from tfrecords.exif import Exif

OtherFormat = Literal["onnx", "litert"]
OPSET = 18
"""Of ONNX: the newest that tf2onnx writes."""
INPUT, OUTPUT = "views", "probabilities"
"""Names of the input, float32 (N, *picture_shape), and of the output, float32 (N, classes)."""


def export_other_format(
    run: Run,
    out: AnyPath,
    model_format: OtherFormat,
    version: int | None = None,
    which: Which = "best",
    *,
    keep: int | None = None,
    license_text: str | None = None,
    report: Report = lambda line: None,
) -> Path:
    """Writes OUT/VERSION with the network in that format, whole or not at all, and never over an existing one.

    Args:
      run: the trained run.
      out: the model's folder, which holds no version of another format.
      model_format: "onnx" or "litert".
      version: a positive number; None takes the next free one.
      which: "best" or "latest" checkpoint.
      keep: how many versions stay beside the new one and the highest; None keeps all.
      license_text: under which license the weights may be used.
      report: gets a line on the run's checkpoint, and on what `keep` left alone.

    Returns:
      The version's folder: the model's file, README.md, and class names and mean image in assets.extra.

    Raises:
      UserError: the converter is not installed, or as for `export.export_run`.
    """
    out = Path(out)
    convert = _converter(model_format)
    model_file = MODEL_FILES[model_format]
    with new_version(out, version, keep=keep, report=report, model_file=model_file) as (folder, finished):
        network, checkpoint = trained_network(run, Towers.unplaced(), which)
        report(f"weights of run {run.path}: {CheckpointFacts.of(run, checkpoint)}")
        content = _converted(convert, network, model_format)
        with faults_of(finished):
            folder.mkdir()
            (folder / model_file).write_bytes(content)
            exif = run.exif(checkpoint)
            write_metadata(folder, [run], [checkpoint], exif, license_text)
            (folder / README_FILE).write_text(_read_me(run, finished, model_format, exif), encoding="utf-8")
    return finished


def _converter(model_format: OtherFormat) -> Callable[[Network], bytes]:
    if model_format == "litert":
        return _as_litert
    if importlib.util.find_spec("tf2onnx") is None:
        raise UserError("--format onnx needs tf2onnx, which is not installed: pip install 'alexnet-tf[onnx]'")
    return _as_onnx


def _converted(convert: Callable[[Network], bytes], network: Network, model_format: OtherFormat) -> bytes:
    try:
        return convert(network)
    except MemoryError:
        raise
    except Exception as fault:  # converters raise what they like
        maker = "tf2onnx" if model_format == "onnx" else "TensorFlow's converter"
        raise UserError(
            f"--format {model_format}: {maker} could not convert the network (--debug shows where); install another "
            "version of it, or export in another format"
        ) from fault


def _as_onnx(network: Network) -> bytes:
    import tf2onnx

    function = _probabilities(network)
    with quiet_start():
        model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    content: bytes = model.SerializeToString()
    return content


def _as_litert(network: Network) -> bytes:
    module = tf.Module()
    module.weights = named_variables(network)
    module.function = _probabilities(network)
    with quiet_start():  # the converter tells every step of its own at length
        concrete = module.function.get_concrete_function()
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    return content


def _probabilities(network: Network) -> tf.types.experimental.GenericFunction:
    spec = tf.TensorSpec((None, *network.picture_shape), tf.float32, name=INPUT)
    return tf.function(
        lambda views: {OUTPUT: view_average(network, views[:, None])}, input_signature=[spec], autograph=False
    )


RUNNING = {
    "onnx": f"""\
import onnxruntime

session = onnxruntime.InferenceSession("{MODEL_FILES["onnx"]}", providers=["CPUExecutionProvider"])
(probabilities,) = session.run(None, {{"{INPUT}": np.stack([prepare("cat.jpg")])}})""",
    "litert": f"""\
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("{MODEL_FILES["litert"]}").get_signature_runner()
probabilities = run({INPUT}=np.stack([prepare("cat.jpg")]))["{OUTPUT}"]""",
}
"""How each format's own run-time is called; the pictures of one call are any number."""
NEEDS = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}
TITLES = {"onnx": "ONNX", "litert": "LiteRT"}


def _read_me(run: Run, folder: Path, model_format: OtherFormat, exif: Exif) -> str:
    preset = run.config.preset
    network, augment = preset.network, preset.augment
    stored, crop = network.stored_size, network.image_size
    colors, order = ("RGB", "red, green, blue") if network.channels == 3 else ("L", "gray")
    mean = "mean.mean(axis=(0, 1))" if augment.mean == "color" else "mean"
    divided = set(augment.color_divisors) != {1.0}
    divide = f" / np.array({json.dumps(augment.color_divisors)}, np.float32)" if divided else ""
    divisors = ", ".join(f"{divisor:.5g}" for divisor in augment.color_divisors)
    scale = f"divided by {divisors}" if divided else "never divided"
    gray = "" if network.channels == 3 else f'.convert("{colors}")'
    axis = "" if network.channels == 3 else "[..., None]"
    far = (stored - crop) // 2
    turning, ops, opened = "is not applied", "", "Image.open(path)"
    if exif == "apply":
        turning, ops, opened = "is applied first", ", ImageOps", "ImageOps.exif_transpose(Image.open(path))"
    return f"""\
# {folder.parent.name}, version {folder.name}, as {TITLES[model_format]}

`{MODEL_FILES[model_format]}` takes prepared pictures, `{INPUT}`, float32 (N, {crop}, {crop}, {network.channels}).
It gives `{OUTPUT}`, float32 (N, {run.num_classes}), in the order of `{CLASSES_FILE}`.

A picture is prepared like this, or the numbers are not those of the network:

1. Decode it to RGB. Its EXIF orientation {turning}.
2. Resize it so that its shorter side has {stored} pixels: bicubic, with antialiasing.
   Take the central {stored}x{stored}.
3. Pixels are {order}, from 0 to 255. Subtract the mean (`{STATISTICS_COPY}`); the result is {scale}.
4. Take the central {crop}x{crop}.

```python
import json

import numpy as np
from PIL import Image{ops}

mean = np.load("{STATISTICS_COPY}")["mean_image"].astype(np.float32)  # ({stored}, {stored}, {network.channels})
with open("{CLASSES_FILE}", encoding="utf-8") as file:
    names = json.load(file)["names"]


def prepare(path):
    picture = {opened}.convert("RGB")
    size = [round(side * {stored} / min(picture.size)) for side in picture.size]
    left, top = [(side - {stored}) // 2 for side in size]
    picture = picture.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + {stored}, top + {stored})){gray}
    pixels = np.asarray(picture, np.float32){axis} - {mean}
    return pixels[{far} : {far + crop}, {far} : {far + crop}]{divide}


{RUNNING[model_format]}
for label in probabilities[0].argsort()[::-1][:5]:
    print(f"{{probabilities[0, label]:.2%}}  {{names[label]}}")
```

It runs with `pip install {NEEDS[model_format]} pillow`, in this folder.
"""
