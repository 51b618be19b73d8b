"""The golden course: 20 steps of `train.py`, whose numbers no change may move that is meant to leave them alone.

The whole way is walked: pictures, records, crops, colors, both towers, gradients, the update, validation, the
checkpoint. The network is narrow and computes in float64, so that two processors differ in the last digits alone. Where
a change is meant to move the numbers, say why in its commit, and renew them:

    python -m tests.golden.course
"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import keras
import numpy as np
from PIL import Image

import train
from alexnet_tf.networks import winograd
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.training.progress import Progress
from tests.alexnet_tf.training.run_files import metrics, tensors
from tests.narrow_nets import make_narrow
from tfrecords import convert

FOLDER = Path(__file__).parent
COURSES = ("paper", "2012-code")
CLASSES = ("ant", "bee", "cat")
STEPS = 20
RATE = 0.05
"""High enough for so few steps to move weights and losses."""
DECIMALS = 5
"""Weights are rounded to so many for their checksum: rounding errors of 1e-13 then hardly ever reach it."""


def golden_file(preset: str) -> Path:
    return FOLDER / f"{preset}.json"


def walk(preset: str, folder: Path) -> dict[str, Any]:
    """Trains in `folder` and returns what is held against the golden file.

    Returns:
      losses: of each step, in nats.
      validations: of each epoch's end, `loss`, `top1_error`, `top5_error` and `images`.
      weights_sha256: of all weights and velocities, rounded.
      norms: of each of them.
    """
    config = folder / "course.yaml"
    config.write_text(
        f"model: {{preset: {preset}}}\ndata: {{dir: {make_data(folder)}, batch_size: 6, eval_batch_size: 6}}\n"
        f"train: {{learning_rate: {RATE}, log_every: 1, steps: {STEPS}}}\ndevices: {{towers: two-cpus}}\n"
    )
    losses: list[float] = []
    add_figures = Progress.add_figures

    def note_loss(progress: Progress, figures: dict[str, float]) -> None:
        losses.append(figures["loss"])
        add_figures(progress, figures)

    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float64")
    try:
        with (
            mock.patch.dict(PRESETS),
            mock.patch.object(Progress, "add_figures", note_loss),
            mock.patch.object(winograd, "FEWEST_CHANNELS", 1),  # convolutions as with the published widths
        ):
            make_narrow()
            assert train.main(["--config", str(config), "--run", str(folder / "run")]) == 0
    finally:
        keras.mixed_precision.set_global_policy(policy)
    last = {name: value for name, value in sorted(tensors(folder / "run", STEPS).items()) if value.dtype == np.float64}
    kept = ("loss", "top1_error", "top5_error", "images")
    return {
        "losses": losses,
        "validations": [{key: line[key] for key in kept} for line in metrics(folder / "run", "validation")],
        "weights_sha256": checksum(last),
        "norms": {
            name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): float(np.linalg.norm(v)) for name, v in last.items()
        },
    }


def checksum(values: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(name.encode())
        digest.update((np.round(value, DECIMALS) + 0.0).astype("<f8").tobytes())  # + 0.0: no negative zeros
    return digest.hexdigest()


def make_data(folder: Path) -> Path:
    """48 training and 12 validation pictures, stored as they are: nothing is resized, no JPEG is coded or decoded."""
    for split, per_class, seed in (("train", 16, 0), ("val", 4, 1)):
        draw = np.random.default_rng(seed)
        for label, key in enumerate(CLASSES):
            (folder / split / key).mkdir(parents=True)
            for number in range(per_class):
                coarse = draw.integers(0, 200, (8, 8, 3), dtype=np.uint8)
                pixels = coarse.repeat(32, axis=0).repeat(32, axis=1)  # (256, 256, 3)
                pixels[label * 16 :: 48, :, label] += 55  # stripes of the class's own color
                Image.fromarray(pixels).save(folder / split / key / f"{number}.png")
    places = [f"--{split}={folder / split}" for split in ("train", "val")]
    assert convert.main(["folder", *places, f"--out={folder / 'data'}", "--encoding=raw", "--workers=1"]) == 0
    return folder / "data"


def main() -> None:
    for preset in COURSES:
        with TemporaryDirectory() as folder:
            found = walk(preset, Path(folder))
        golden_file(preset).write_text(json.dumps(found, indent=1) + "\n")
        print(f"{golden_file(preset)}: loss {found['losses'][0]:.4f} to {found['losses'][-1]:.4f}")


if __name__ == "__main__":
    main()
