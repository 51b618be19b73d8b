"""The nets that ours are timed against have as many weights, and they are trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet_tf.networks.network import network_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from benchmarks import networks
from benchmarks.keras_networks import keras_network
from benchmarks.torch_networks import torch_network
from tests.narrow_nets import shrink_net
from tests.one_end import at_the_newer_end
from tests.slow_cases import slow

CLASSES = 10


FAST = ("lenet5", "cifar", "resnet-cifar", "inception-v1")


@at_the_newer_end
@pytest.mark.parametrize("preset", [*FAST, *slow(*(name for name in networks.NETS if name not in FAST))])
def test_other_libraries_nets_have_as_many_weights(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_net(monkeypatch)
    settings = PRESETS[preset].network
    known = network_variables(build_network(settings, CLASSES, Towers.unplaced()))
    ours = [known[name].variable.shape.num_elements() for name in known]
    trained = [known[name].variable.shape.num_elements() for name in known if known[name].trained]
    keras_net, torch_net = keras_network(settings, CLASSES, 0), torch_network(settings, CLASSES)
    assert keras_net.count_params() == sum(ours)
    assert sum(one.numel() for one in torch_net.parameters()) == sum(trained)
    side = settings.image_size
    outputs = torch_net(torch.zeros(2, settings.channels, side, side))
    assert [tuple(one.shape) for one in outputs] == [(2, CLASSES)] * len(keras_net.outputs)
    assert len(outputs) == (3 if preset == "inception-v1" else 1)


@at_the_newer_end
@pytest.mark.slow
def test_keras_applications_net_keeps_its_weights_without_strided_points() -> None:
    net = keras_network(PRESETS["resnet50"].network, 1000, 0)
    assert net.count_params() == 25_636_712  # as keras.applications' own summary says
    assert tuple(net.outputs[0].shape) == (None, 1000)


@pytest.mark.slow
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' process knows nothing of narrow nets, but is given one."""
    shrink_net(monkeypatch)
    options = [
        "--nets=resnet-cifar,inception-v1",
        "--batch-size=2",
        "--rounds=1",
        "--turn-seconds=0",  # a longer turn has more steps, in which training on random images may well break down
        "--matrix-size=64",
    ]
    assert networks.main([*options, "--json", str(tmp_path / "r.json")]) == 0
    figures = json.loads((tmp_path / "r.json").read_text())["figures"]
    for net in ("resnet-cifar", "inception-v1"):
        assert figures[f"{net}: images_per_second"]["median"] > 0
        for library in networks.LIBRARIES:
            assert np.isfinite(figures[f"{net} in {library}: time_over_{net}"]["median"])


def test_wrong_names_are_told() -> None:
    with pytest.raises(SystemExit) as stopped:
        networks.main(["--nets", "vgg"])
    assert stopped.value.code == 2
