"""A run's network with its trained weights."""

from pathlib import Path

from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.towers import Towers


def trained_network(run: Run, towers: Towers, which: Which = "best") -> tuple[Network, Path]:
    """The network with its trained weights, and the checkpoint they came from.

    Raises:
      UserError: the run has no checkpoint, a damaged one, or one of other settings than the run's files tell.
    """
    checkpoint = run.checkpoint(which)  # a fault in it is told before the network is built
    model = build_network(run.config.preset.network, run.num_classes, towers)
    run.load(named_variables(model), checkpoint)
    return model, checkpoint
