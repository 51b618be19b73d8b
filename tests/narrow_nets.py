"""Networks as the presets have them, but narrow: a step and a checkpoint take a hundredth."""

from collections.abc import MutableMapping
from dataclasses import replace

import pytest

from alexnet_tf.settings.presets import PRESETS, AlexNetSettings, Preset, Widths

NARROW = Widths(conv1=8, conv2=16, conv3=16, conv4=16, conv5=16, fc6=16, fc7=16)
"""Of a tower. Enough channels for a window of five, and for the towers to meet at their edges."""


NARROW_COMMAND = """
import importlib, sys
from alexnet_tf.program.errors import run_command
from tests.narrow_nets import make_narrow
make_narrow()
run_command(importlib.import_module(sys.argv.pop(1)).main)
"""
"""For `python -c` at the root of the checkout, followed by a command's module and its arguments."""


def make_narrow(presets: MutableMapping[str, Preset] = PRESETS) -> None:
    """Makes every preset's network narrow, for whatever is built from now on."""
    for name, preset in presets.items():
        if not hasattr(preset.network, "widths"):
            continue  # is narrow as it is
        network = replace(preset.network, widths=NARROW)
        if isinstance(network, AlexNetSettings):  # fewer inputs need larger weights, else nothing gets through
            names = ("weight_stddev", "weight_stddev_conv345", "weight_stddev_fc67")
            network = replace(network, **{name: 3 * getattr(network, name) for name in names})
        presets[name] = replace(preset, network=network)


def shrink_net(patch: pytest.MonkeyPatch) -> None:
    """`make_narrow` until the patch is undone."""
    for name in PRESETS:
        patch.setitem(PRESETS, name, PRESETS[name])  # so that it is undone
    make_narrow()
