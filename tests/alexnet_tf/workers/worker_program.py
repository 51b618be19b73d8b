"""What a worker of the tests runs: train.py with the small network, which leaves behind what only the process knows.

    python -m tests.alexnet_tf.workers.worker_program OUT CHANGES ARGUMENTS-OF-TRAIN

    OUT/2.pid            its process, once it is about to train
    OUT/2.npz            worker 2's weights at the end, by their names
    OUT/2.json           where its step's operations are, and what it sends; with change "placement"
    OUT/2-averaged       what the workers made of `made_gradients`; with change "placement"

CHANGES are names in `worker_changes.CHANGES`, with commas between them.
"""

import sys
from pathlib import Path

import pytest

import train
from alexnet_tf.program.errors import run_command
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.settings.config import Config
from alexnet_tf.settings.explained import Setting
from tests.alexnet_tf.networks.trial_network import register
from tests.narrow_nets import make_narrow


def main(argv: list[str]) -> int:
    out, changes, *arguments = argv
    make_narrow()
    register(pytest.MonkeyPatch())
    begin = train.train

    def train_changed(config: Config, cluster: Cluster, run: Path, settings: list[Setting]) -> None:
        from tests.alexnet_tf.workers.worker_changes import (
            change,  # loads TensorFlow: after all workers have come, as train.py
        )

        change(Path(out), changes.split(","))
        begin(config, cluster, run, settings)

    assert "tensorflow" not in sys.modules
    train.train = train_changed
    return train.main(arguments)


if __name__ == "__main__":
    run_command(main)
