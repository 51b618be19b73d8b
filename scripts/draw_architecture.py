"""Draws docs/architecture.png: the floors of the house, and the way of an image through its rooms.

    .venv/bin/python scripts/draw_architecture.py

The floors are read from the linter's contract in pyproject.toml (Python 3.11 or later), so the picture cannot show
another house than the one that `make lint` enforces.
"""

import textwrap
from pathlib import Path

import matplotlib
import tomllib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/architecture.png"

COMMANDS = "commands"
HOLDS = {
    COMMANDS: "train.py, export.py, alexnet_tf/*.py: arguments, and what is called with them",
    "local_server": "one machine's server",
    "from_python": "alexnet_tf.load for notebooks",
    "reporting": "a run's report and its figures",
    "training": "step, loop, update rules, checks",
    "serving": "SavedModel, signatures, versions",
    "evaluation": "probabilities, error rates",
    "workers": "several processes, one network",
    "networks": "the contract, layers, AlexNet",
    "pictures": "records to batches, augmentation",
    "runs": "folder, checkpoints, metrics",
    "towers": "which device each tower lives on",
    "settings": "presets and config, no TensorFlow",
    "tfrecords": "picture files to shards",
    "weights": "Caffe's and PyTorch's files",
    "program": "errors, whole files, locks, signals",
}
"""What is in each room, in a few words."""

WAY = [
    ("tfrecords", "A picture file is resized and written to a shard: convert.py, pictures.py, shards.py."),
    ("pictures", "Records are read, shuffled, decoded and augmented: input_pipeline.py, preparation.py."),
    ("training", "A batch goes into the step, its loss comes back: loop.py, step.py."),
    ("networks", "Both towers make logits of it, each on its own device: alexnet.py, layers.py."),
    ("runs", "Weights and velocities are saved: folder.py, checkpoints.py."),
    ("evaluation", "Validation pictures are answered and counted: probabilities.py, error_rates.py."),
    ("serving", "The best weights become a SavedModel that takes picture files: export.py, signatures.py."),
    ("local_server", "A server answers with names and probabilities; TensorFlow Serving does it in production."),
]
"""The stations of an image, in order: the room, and what happens there in which files."""

INK, BAND, ROOM, ROUTE = "#22303c", "#e9eef2", "#ffffff", "#c2410c"
LEFT, RIGHT = 0.9, 12.4
"""Of the floors. The way is to the right of them."""
FLOOR, GAP = 0.92, 0.22
WAY_LEFT, WAY_RIGHT = 13.2, 19.6


def main() -> None:
    """Writes the picture."""
    floors = read_floors()
    top = len(floors) * (FLOOR + GAP) - GAP
    figure, axes = plt.subplots(figsize=(16.4, 9.2), dpi=110)
    draw_floors(axes, floors, top)
    draw_way(axes, top)
    axes.set_xlim(-0.2, WAY_RIGHT + 0.1)
    axes.set_ylim(-0.1, top + 0.9)
    axes.axis("off")
    figure.savefig(PICTURE, bbox_inches="tight", metadata={"Software": None})
    print(PICTURE)


def read_floors() -> list[list[str]]:
    """The rooms of every floor, from the top; all commands count as one room."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    # Above all commands is only the one that lists them.
    _, commands, *others = ([name.strip().rpartition(".")[2] for name in layer.split("|")] for layer in layers)
    unknown = {room for floor in others for room in floor} ^ (set(HOLDS) - {COMMANDS})
    if unknown or not commands:
        raise SystemExit(f"HOLDS in {Path(__file__).name} and the contract in pyproject.toml differ: {sorted(unknown)}")
    return [[COMMANDS], *others]


def draw_floors(axes: Axes, floors: list[list[str]], top: float) -> None:
    """Draws the floors, the highest at the top; rooms that an image passes bear the numbers of its stations."""
    heading(axes, LEFT, top, "The house: a room imports only from the floors below it")
    axes.annotate("", xy=(0.4, 0.0), xytext=(0.4, top), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.5})
    axes.text(0.05, top / 2, "imports", rotation=90, color=INK, va="center", fontsize=11)
    for number, rooms in enumerate(reversed(floors)):
        bottom = number * (FLOOR + GAP)
        axes.add_patch(
            FancyBboxPatch((LEFT, bottom), RIGHT - LEFT, FLOOR, boxstyle="round,pad=0.06", fc=BAND, ec="none")
        )
        width = (RIGHT - LEFT) / len(rooms)
        for place, room in enumerate(rooms):
            draw_room(axes, room, LEFT + place * width + 0.1, bottom + 0.1, width - 0.2)


def draw_room(axes: Axes, room: str, left: float, bottom: float, width: float) -> None:
    """One room: its name, what it holds and, at the right, its stations."""
    height = FLOOR - 0.2
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle="round,pad=0.03", fc=ROOM, ec=INK, lw=1))
    name = room if room == COMMANDS else f"{room}.py" if room == "towers" else f"{room}/"
    axes.text(left + 0.12, bottom + 0.5, name, fontsize=12, weight="bold", color=INK, va="center")
    axes.text(left + 0.12, bottom + 0.18, HOLDS[room], fontsize=9, color=INK, va="center")
    stations = [number for number, (where, _) in enumerate(WAY, start=1) if where == room]
    for place, number in enumerate(reversed(stations)):
        draw_number(axes, number, left + width - 0.25 - 0.55 * place, bottom + 0.48)


def draw_way(axes: Axes, top: float) -> None:
    """The stations from top to bottom, each with its room, what happens there, and an arrow to the next."""
    heading(axes, WAY_LEFT, top, "The way of an image")
    step = top / len(WAY)
    for number, (room, what) in enumerate(WAY, start=1):
        y = top - (number - 0.5) * step
        if number < len(WAY):
            axes.annotate(
                "", xy=(WAY_LEFT + 0.3, y - step + 0.26), xytext=(WAY_LEFT + 0.3, y - 0.26),
                arrowprops={"arrowstyle": "-|>", "color": ROUTE, "lw": 1.6},
            )  # fmt: skip
        draw_number(axes, number, WAY_LEFT + 0.3, y)
        axes.text(WAY_LEFT + 0.8, y + 0.28, f"{room}/", fontsize=11, weight="bold", color=INK, va="center")
        axes.text(WAY_LEFT + 0.8, y + 0.1, textwrap.fill(what, 52), fontsize=10, color=INK, va="top")


def draw_number(axes: Axes, number: int, x: float, y: float) -> None:
    """One station's number in its circle."""
    axes.text(
        x, y, str(number), color="white", weight="bold", fontsize=11, ha="center", va="center",
        bbox={"boxstyle": "circle,pad=0.3", "fc": ROUTE, "ec": "white"},
    )  # fmt: skip


def heading(axes: Axes, left: float, top: float, text: str) -> None:
    """What stands above either half."""
    axes.text(left - 0.05, top + 0.5, text, fontsize=14, weight="bold", color=INK, va="center")


if __name__ == "__main__":
    main()
