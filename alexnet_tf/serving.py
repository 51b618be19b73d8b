"""From a trained run to a SavedModel for TensorFlow Serving: picture files in, names and probabilities out.

The graph holds the preprocessing of evaluation, by the same functions, and no device: the network is built anew without
towers' devices, so the model loads on whatever the server has.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from alexnet_tf.devices import Towers
from alexnet_tf.errors import UserError
from alexnet_tf.evaluate import view_average
from alexnet_tf.input_pipeline import evaluation_views, picture_from_file
from alexnet_tf.model import AlexNet, named_variables
from alexnet_tf.workdir import Run, Which

CLASSES_FILE = Path("assets.extra") / "classes.json"
"""Class keys and names, in label order, in a version's folder."""

TOP = 5
"""How many classes `serving_default` names, where the model knows as many."""


def export_run(run: Run, out: Path, version: int | None, which: Which = "best") -> Path:
    """Writes OUT/VERSION, whole or not at all, and never over an existing one.

    Args:
      run: the trained run.
      out: the model's folder, as TensorFlow Serving's base_path takes it.
      version: a positive number; None takes the next free one.
      which: "best" or "latest" checkpoint.

    Returns:
      The version's folder.

    Raises:
      UserError: the version exists, or the run has no checkpoint.
    """
    number = next_version(out) if version is None else version
    finished = out / str(number)
    if finished.exists():
        raise UserError(f"{finished} exists and stays as it is; give another --version or none for the next")
    model, _ = run.load_model(Towers.unplaced(), which)
    out.mkdir(parents=True, exist_ok=True)
    unfinished = out / f".unfinished-{number}-{os.getpid()}"  # TensorFlow Serving only looks at numbers
    try:
        _write_saved_model(model, run, unfinished)
        (unfinished / CLASSES_FILE).parent.mkdir()
        (unfinished / CLASSES_FILE).write_text(run.classes.model_dump_json(indent=1), encoding="utf-8")
        remove_devices(unfinished)
        try:
            os.rename(unfinished, finished)  # fails where somebody else made this version meanwhile
        except OSError as fault:
            raise UserError(f"{finished} exists and stays as it is; export again for the next version") from fault
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return finished


def next_version(out: Path) -> int:
    """One more than the highest version in a model's folder; 1 for a new folder."""
    return max(versions(out), default=0) + 1


def versions(out: Path) -> list[int]:
    """The versions in a model's folder, ascending."""
    if not out.is_dir():
        return []
    return sorted(int(path.name) for path in out.iterdir() if path.name.isdecimal() and path.is_dir())


def remove_devices(saved_model: Path) -> None:
    """Takes every device out of a SavedModel's graph.

    The network has none, but TensorFlow binds its own saving and restoring of the variables to the first CPU.

    Raises:
      RuntimeError: an operation of the network itself is bound to a device.
    """
    path = saved_model / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in (meta.graph_def for meta in model.meta_graphs):
        for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
            if not node.device.startswith("/device:CPU:") and node.device:
                raise RuntimeError(f"{saved_model}: node {node.name} is bound to {node.device}")
            node.device = ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def _write_saved_model(model: AlexNet, run: Run, folder: Path) -> None:
    # Plain variables and functions, no Keras object: TensorFlow Serving's C++ loader stumbles over Keras 3's own, and
    # keras.export would store every variable twice.
    module = tf.Module()
    module.weights = named_variables(model)
    pictures = tf.TensorSpec((None,), tf.string, name="image_bytes")
    signatures = {
        "serving_default": tf.function(_classify(model, run), input_signature=[pictures]),
        "probabilities": tf.function(_probabilities(model, run), input_signature=[pictures]),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _probabilities(model: AlexNet, run: Run) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def probabilities(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": _forward(model, run, image_bytes)}  # (N, classes), in label order

    return probabilities


def _classify(model: AlexNet, run: Run) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def classify(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, labels = tf.math.top_k(_forward(model, run, image_bytes), min(TOP, run.num_classes))
        return {
            "labels": tf.gather(tf.constant(run.classes.keys), labels),  # (N, 5)
            "classes": tf.gather(tf.constant(run.classes.names), labels),  # (N, 5)
            "scores": scores,  # (N, 5)
        }

    return classify


def _forward(model: AlexNet, run: Run, image_bytes: tf.Tensor) -> tf.Tensor:
    """Encoded pictures (N,) to probabilities (N, classes)."""
    size = model.image_size

    def center_view(encoded: tf.Tensor) -> tf.Tensor:
        picture = picture_from_file(encoded)  # (256, 256, 3)
        return evaluation_views(picture, 1, run.config.preset.augment, run.statistics)  # (1, size, size, 3)

    images = tf.map_fn(center_view, image_bytes, fn_output_signature=tf.TensorSpec((1, size, size, 3), tf.float32))
    return view_average(model, images)
