"""What a worker of the tests runs: train.py with the small network, which leaves behind what only the process knows.

    python -m tests.alexnet_tf.workers.worker_program OUT CHANGES ARGUMENTS-OF-TRAIN

    OUT/2.pid            its process, once it is about to train
    OUT/2.npz            worker 2's weights at the end, by their names
    OUT/2.json           where its step's operations are, and what it sends; with change "placement"
    OUT/2-averaged       what the workers made of `made_gradients`; with change "placement"

CHANGES are names in `worker_changes.CHANGES`, with commas between them.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_tf import train
from alexnet_tf.program.errors import run_command
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.settings.config import Config
from tests.alexnet_tf.networks.trial_network import register
from tests.narrow_nets import make_narrow


def main(argv: list[str]) -> int:
    out, changes, *arguments = argv
    make_narrow()
    register(pytest.MonkeyPatch())
    watch = train.keep_watch

    @contextlib.contextmanager
    def keep_watch_and_change(cluster: Cluster, config: Config) -> Iterator[None]:
        with watch(cluster, config):
            from tests.alexnet_tf.workers.worker_changes import (
                change,  # loads TensorFlow: after all workers have come, as the command
            )

            change(Path(out), changes.split(","))
            yield

    assert "tensorflow" not in sys.modules
    train.keep_watch = keep_watch_and_change
    return train.main(arguments)


if __name__ == "__main__":
    run_command(main)
