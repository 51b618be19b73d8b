"""The installed command `alexnet-tf`, and `python -m alexnet_tf`: a name chooses one of the commands below."""

import difflib
import importlib
import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from alexnet_tf.program.arguments import PROGRAM
from alexnet_tf.program.errors import DONE, WRONG_USAGE, run_command


class Command(NamedTuple):
    """One of the commands."""

    name: str
    module: str
    """Has `main(argv) -> exit status`; imported once the command is called, by its name."""
    sentence: str
    """What it does."""


COMMANDS = (
    Command("convert", "tfrecords.convert", "Converts pictures to TFRecord shards."),
    Command("verify", "tfrecords.verify", "Checks converted pictures, and draws some of them."),
    Command("new-config", "alexnet_tf.new_config", "Writes a config that fits converted pictures."),
    Command("configs", "alexnet_tf.configs", "Lists the configs that come with the program, and prints one to copy."),
    Command("devices", "alexnet_tf.devices", "Reports on which device each operation of a training step runs."),
    Command("train", "alexnet_tf.train", "Trains a network, or resumes its training."),
    Command("start-workers", "alexnet_tf.start_workers", "Starts the workers of this machine, which train together."),
    Command("learning-curve", "alexnet_tf.learning_curve", "Draws the losses and error rates of a training."),
    Command("evaluate", "alexnet_tf.evaluate", "Measures the error rates of one net, or of several averaged."),
    Command("compare", "alexnet_tf.compare", "Compares runs: curves, error rates and whether these differ by chance."),
    Command("report", "alexnet_tf.report", "Shows in figures what a trained network has learned."),
    Command("export", "alexnet_tf.export", "Writes a trained network as a SavedModel for TensorFlow Serving."),
    Command("predict", "alexnet_tf.predict", "Names what is on pictures, with an exported model."),
    Command("serve", "alexnet_tf.serve", "Serves an exported model on this machine, with a page to try it."),
    Command("client", "alexnet_tf.client", "Asks a model server what is on pictures."),
    Command(
        "import-weights", "alexnet_tf.import_weights", "Makes a run of published weights: Caffe's, PyTorch's or Keras'."
    ),
    Command("export-weights", "alexnet_tf.export_weights", "Writes a run's weights as Caffe's files."),
)
"""In the order of the work."""


def main() -> None:
    """The program's door."""
    run_command(call)


def call(argv: Sequence[str]) -> int:
    """Calls the command that the first argument names with all the others; lists the commands without any."""
    known = {command.name: command for command in COMMANDS}
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return DONE
    name, *rest = argv
    if name not in known:
        near = difflib.get_close_matches(name.replace("_", "-"), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"{PROGRAM} alone lists all"
        print(f"{PROGRAM}: error: there is no command {name}; {hint}", file=sys.stderr)
        return WRONG_USAGE
    status: int = importlib.import_module(known[name].module).main(rest)
    return status


def overview() -> str:
    """All commands, each with its sentence."""
    listed = [f"  {command.name:15} {command.sentence}" for command in COMMANDS]
    about = "AlexNet (2012) on two devices, with today's TensorFlow. The commands, in the order of the work:"
    return "\n".join([
        f"usage: {PROGRAM} COMMAND ...", "", *textwrap.wrap(about, 100), "", *listed, "",
        f"{PROGRAM} COMMAND --help tells a command's options.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
