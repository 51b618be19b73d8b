"""The networks that the step is timed against are the same network, and they are trained."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.weights.layouts import CAFFE, LAYERS, from_published, to_published
from benchmarks import step, step_peers
from benchmarks.flops import count_work, gflop_per_image
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import shrink_net
from tests.one_end import at_the_newer_end
from tests.slow_cases import slow

CLASSES = 1000


@pytest.fixture(scope="module")
def towers_with_common_norm() -> Network:
    """The paper's network with LRN over the channels of both towers; weights under which every layer matters."""
    network = replace(step_peers.NETWORK, network_class="alexnet_tf.networks.caffe:CaffeAlexNet", image_size=227)
    net = build_network(network, CLASSES, Towers.unplaced())
    draw = np.random.default_rng(4)
    for name, variable in named_variables(net).items():
        fan_in = np.prod(variable.shape[:-1])
        scale = np.float32(np.sqrt(2 / fan_in) if name.endswith("/kernel") else 1)
        variable.assign(scale * draw.standard_normal(variable.shape, np.float32))
    return net


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 60, (2, 224, 224, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def logits(towers_with_common_norm: Network, pictures: np.ndarray) -> np.ndarray:
    padded = np.pad(pictures, ((0, 0), (0, 3), (0, 3), (0, 0)))
    return towers_with_common_norm(tf.constant(padded)).numpy()


def kernels_and_biases(net: Network) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """As PyTorch stores them, by layer; the paper halves at test what goes into fc7 and fc8, the peers do not."""
    values = {name: variable.numpy() for name, variable in named_variables(net).items()}
    layers = to_published(values, replace(CAFFE, blue_first=False))
    return {name: (kernel / 2 if name in ("fc7", "fc8") else kernel, bias) for name, (kernel, bias) in layers.items()}


@at_the_newer_end
def test_pytorch_net_is_the_same(towers_with_common_norm: Network, pictures: np.ndarray, logits: np.ndarray) -> None:
    import torch  # not at the top: each process of the suite would load it

    net = step_peers.torch_net(CLASSES, lrn=True).eval()
    weighted = [layer for layer in net if hasattr(layer, "weight")]
    layers = kernels_and_biases(towers_with_common_norm)
    for layer, name in zip(weighted, LAYERS, strict=True):
        kernel, bias = (torch.from_numpy(np.array(array)) for array in layers[name])
        layer.load_state_dict({"weight": kernel, "bias": bias})
    with torch.inference_mode():
        found = net(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())).numpy()
    assert_close(found, logits, WHOLE_NETWORK)
    for lrn in (True, False):
        assert sum(one.numel() for one in step_peers.torch_net(CLASSES, lrn=lrn).parameters()) == 60_965_224


def test_keras_net_is_the_same(towers_with_common_norm: Network, pictures: np.ndarray, logits: np.ndarray) -> None:
    net = step_peers.keras_net(CLASSES)
    one_tower = from_published(
        kernels_and_biases(towers_with_common_norm), replace(CAFFE, towers="a", blue_first=False)
    )
    weighted = [layer for layer in net.layers if layer.weights]
    for layer, name in zip(weighted, LAYERS, strict=True):
        layer.set_weights([one_tower[f"{name}_a/kernel"], one_tower[f"{name}_a/bias"]])
    assert_close(net(tf.constant(pictures)).numpy(), logits, WHOLE_NETWORK)

    assert net.count_params() == 60_965_224
    products = [math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in weighted]
    assert 2 * sum(products) == sum(layer.forward for layer in count_work(towers_with_common_norm))


@pytest.mark.parametrize("side", slow("torch-channels-last", "keras-groups", "keras-groups-xla"))
def test_peers_are_trained(side: str, pictures: np.ndarray) -> None:
    steps = step.PEERS[side](pictures, np.array([3, 3]), 10, 0, 1)
    first, second = float(steps(1)), float(steps(2))
    assert second < first - 0.1


@pytest.mark.slow
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shrink_net(monkeypatch)

    def absent(*_: object) -> step.Steps:
        raise ImportError("No module named 'torch'")

    monkeypatch.setitem(step.PEERS, "torch", absent)
    monkeypatch.setitem(step.PEERS, "keras-groups", lambda *_: lambda count: time.sleep(0.2 * count) or 1.0)
    options = [
        "--sides=torch,paper-bfloat16,keras-groups",
        "--classes=10",
        "--batch-size=2",
        "--rounds=2",
        "--matrix-size=64",
        "--turn-seconds=0.3",
    ]
    assert step.main([*options, "--json", str(tmp_path / "r.json")]) == 0
    assert "torch takes no part: No module named 'torch'" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["sides"] == ["paper-bfloat16", "keras-groups"]
    narrow = build_network(PRESETS["paper"].network, 10, Towers.unplaced())
    assert report["settings"]["gflop_per_image"] == {"paper-bfloat16": gflop_per_image(count_work(narrow))}
    assert all(len(figure["rounds"]) == 2 for figure in report["figures"].values())
    own, other = (report["figures"][f"{side}: step_ms"]["rounds"] for side in ("paper-bfloat16", "keras-groups"))
    assert min(other) >= 200
    ratios = report["figures"]["keras-groups: time_over_paper-bfloat16"]["rounds"]
    assert ratios == pytest.approx([theirs / ours for theirs, ours in zip(other, own, strict=True)])
    assert report["figures"]["paper-bfloat16: share_of_peak"]["median"] > 0
