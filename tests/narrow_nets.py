"""Networks as the presets have them, but narrow and not deep: a step and a checkpoint take a hundredth."""

from collections.abc import MutableMapping
from dataclasses import fields, replace
from typing import Any

import pytest

from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import NetworkSettings, Preset
from alexnet_tf.training import saving_budget

NARROW_COMMAND = """
import importlib, sys
from alexnet_tf.program.errors import run_command
from tests.narrow_nets import make_narrow
make_narrow()
run_command(importlib.import_module(sys.argv.pop(1)).main)
"""
"""For `python -c` at the root of the checkout, followed by a command's module and its arguments."""

ONE_OF_EACH_CLASS = tuple({preset.network.network_class: name for name, preset in reversed(PRESETS.items())}.values())
"""A preset of every class of networks."""

SHALLOW = {"blocks": 1, "depth": 8, "modules": ("3a", "4a", "4d", "5b")}
"""The fewest layers in which all kinds of a network's parts occur, by the field that says how many there are."""


def make_narrow(presets: MutableMapping[str, Preset] = PRESETS) -> None:
    """Makes every preset's network narrow, for whatever is built from now on."""
    saving_budget.CHEAP_SECONDS = float("inf")  # however busy the machine is, the end of each epoch makes a checkpoint
    for name, preset in presets.items():
        widths = getattr(preset.network, "widths", None)
        if widths is None:
            continue  # is narrow as it is
        narrow = {field.name: _narrow(getattr(widths, field.name)) for field in fields(widths)}
        network = replace(preset.network, widths=replace(widths, **narrow), **_shallow(preset.network))
        # Fewer inputs need larger weights, else nothing gets through.
        stddevs = [field.name for field in fields(network) if field.name.startswith("weight_stddev")]
        network = replace(network, **{name: 3 * getattr(network, name) for name in stddevs})
        presets[name] = replace(preset, network=network)


def _shallow(network: NetworkSettings) -> dict[str, Any]:
    fewest = {name: value for name, value in SHALLOW.items() if hasattr(network, name)}
    return {
        name: (value,) * len(getattr(network, name)) if name == "blocks" else value for name, value in fewest.items()
    }


def _narrow(width: Any) -> Any:
    """Enough channels for a window of five, and for the towers to meet at their edges."""
    return tuple(map(_narrow, width)) if isinstance(width, tuple) else min(16, max(8, width // 8))


def shrink_net(patch: pytest.MonkeyPatch) -> None:
    """`make_narrow` until the patch is undone."""
    for name in PRESETS:
        patch.setitem(PRESETS, name, PRESETS[name])  # so that it is undone
    patch.setattr(saving_budget, "CHEAP_SECONDS", saving_budget.CHEAP_SECONDS)
    make_narrow()
