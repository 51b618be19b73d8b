"""The placement report against what the network's layer table says must be, and against a step that strays."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf import devices
from alexnet_tf.networks.winograd import TILE_ROWS
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Preset
from alexnet_tf.towers import Towers
from alexnet_tf.training import placement_report
from alexnet_tf.training.placement_report import Placement, measure_placement
from alexnet_tf.training.step import TrainingStep
from tests.bfloat16 import skip_without_bfloat16
from tests.narrow_nets import shrink_net
from tests.slow_cases import slow
from tfrecords.statistics import Statistics

FLOAT = 4
UNITS = 64
"""Of fc6 and fc7 in a tower, for where they are does not hang on their number."""
SENT_BY_BOTH = {"conv3": 13 * 13 * 128 * FLOAT, "fc6": 6 * 6 * 128 * FLOAT, "fc7": UNITS * FLOAT}
SENT_BY_B = {"fc8": UNITS * FLOAT}
SENT_FOR_NORMALIZATION = {  # two channels each way
    "caffe": {"norm1": 55 * 55 * 2 * FLOAT, "norm2": 27 * 27 * 2 * FLOAT},
    "caffenet": {"norm1": 27 * 27 * 2 * FLOAT, "norm2": 13 * 13 * 2 * FLOAT},
}
FILTERED_CONVOLUTIONS = 1 + TILE_ROWS[5] + 3 * TILE_ROWS[3]  # conv1, conv2, conv3 to conv5
BLACK = Statistics.of_mean_image(np.zeros((256, 256, 3)))

SGDW = replace(PRESETS["2012-code"], train=replace(PRESETS["2012-code"].train, optimizer="sgdw"))
BFLOAT16 = replace(PRESETS["paper"], train=replace(PRESETS["paper"].train, precision="bfloat16"))
OWN = {"sgdw": SGDW, "bfloat16": BFLOAT16}


def with_few_units(preset: Preset) -> Preset:
    widths = replace(preset.network.widths, fc6=UNITS, fc7=UNITS)
    return replace(preset, network=replace(preset.network, widths=widths))


@pytest.fixture(scope="module", params=["paper", "2012-code", "bfloat16", *slow("caffe", "caffenet", "sgdw")])
def preset_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def placement(preset_name: str, two_cpus: Towers) -> Placement:
    if preset_name == "bfloat16":
        skip_without_bfloat16()
    return measure_placement(TrainingStep(with_few_units({**PRESETS, **OWN}[preset_name]), 7, two_cpus, 0, BLACK))


def count(placement: Placement, tower: str, phase: str, prefix: str) -> int:
    device = {"a": "CPU:0", "b": "CPU:1"}[tower]
    return sum(
        (op.tower, op.phase, op.device) == (tower, phase, device) and op.type.startswith(prefix)
        for op in placement.operations
    )


@pytest.mark.parametrize("tower", ["a", "b"])
def test_every_convolution_and_its_gradients_are_at_home(placement: Placement, preset_name: str, tower: str) -> None:
    passes = 2 * (3 if preset_name in ("2012-code", "sgdw") else 2)  # of every normalization, each compiled
    convolutions = 5
    if preset_name != "bfloat16":
        convolutions = FILTERED_CONVOLUTIONS
        passes += 2 * 4  # there and back again, in conv2 to conv5
    assert count(placement, tower, "forward", "Conv2D") == convolutions
    assert count(placement, tower, "gradient", "Conv2DBackpropFilter") == convolutions
    assert count(placement, tower, "gradient", "Conv2DBackpropInput") == convolutions - 1  # none for the images
    assert count(placement, tower, "forward", "PartitionedCall") == passes + 1  # and the images' preparation
    assert count(placement, tower, "gradient", "PartitionedCall") == passes
    assert count(placement, tower, "gradient", "MaxPoolGrad") == 3


@pytest.mark.parametrize(("tower", "layers"), [("a", 8), ("b", 7)])
def test_every_variable_is_updated_at_home(placement: Placement, tower: str, layers: int) -> None:
    def updates(*types: str) -> int:
        return sum(count(placement, tower, "update", kind) for kind in types)

    # The paper's two fused updates, or the optimizer of either end of the supported range.
    assert updates("ResourceApplyKerasMomentum") == 2 * layers or updates("AssignVariableOp") == 4 * layers
    assert updates("ResourceApplyGradientDescent", "AssignSubVariableOp") >= layers  # the decay of the weights


def test_nothing_strays(placement: Placement) -> None:
    assert placement.strayed == []
    assert {(op.tower, op.device) for op in placement.operations} == {("a", "CPU:0"), ("b", "CPU:1")}


@pytest.mark.parametrize("kind", ["activation", "gradient"])
def test_only_what_the_other_tower_needs_crosses(placement: Placement, preset_name: str, kind: str) -> None:
    found = sorted((c.layer, c.source, c.bytes) for c in placement.crossings if c.kind == kind)
    a, b = "CPU:0", "CPU:1"
    by_both = SENT_BY_BOTH | SENT_FOR_NORMALIZATION.get(preset_name, {})
    expected = [(layer, source, size) for layer, size in by_both.items() for source in (a, b)]
    # fc8 lives with tower a: b sends its half and gets that half's gradient back.
    expected += [(layer, b if kind == "activation" else a, size) for layer, size in SENT_BY_B.items()]
    if preset_name == "bfloat16":
        expected = [(layer, source, size // 2) for layer, source, size in expected]
    assert found == sorted(expected)
    assert {c.kind for c in placement.crossings} == {"activation", "gradient", "fed", "control"}


def test_pictures_are_fed_as_bytes_and_prepared_on_both_devices(placement: Placement) -> None:
    fed = {c.tensor: c.bytes for c in placement.crossings if c.kind == "fed"}
    assert {name.partition("_")[0] for name in fed} <= {"images", "labels", "seed", "rates"}
    assert max(fed.values()) == 256 * 256 * 3 and sum(fed.values()) < 256 * 256 * 3 + 200
    for tower in "ab":
        prepared = {op.device for op in placement.operations if op.name.startswith(f"prepare_{tower}/")}
        assert prepared == {{"a": "CPU:0", "b": "CPU:1"}[tower]}


def test_prepared_pictures_are_fed_as_they_are(two_cpus: Towers) -> None:
    placement = measure_placement(TrainingStep(with_few_units(PRESETS["paper"]), 7, two_cpus, 0))
    fed = {c.tensor: c.bytes for c in placement.crossings if c.kind == "fed"}
    assert max(fed.values()) == 224 * 224 * 3 * FLOAT
    assert not any(op.name.startswith("prepare_") for op in placement.operations)
    assert placement.strayed == []


class StrayingStep(TrainingStep):
    """What trap number one looks like: a tape, whose backward pass lands on the first device."""

    def _step(self, images, labels, seed, rates, names):
        trained = names.splitlines()
        with tf.GradientTape() as tape:
            logits = self.model(self.prepare(images), dropout_seed=seed)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        gradients = tape.gradient(loss, [self.variables[name] for name in trained])
        self.optimizer.apply(dict(zip(trained, gradients, strict=True)), rates)
        return loss


def test_a_step_that_strays_is_told_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink_net(monkeypatch)
    monkeypatch.setattr(placement_report, "TrainingStep", StrayingStep)
    config = tmp_path / "two.yaml"
    config.write_text("devices: {towers: two-cpus}\ndata: {dir: /no/data}\n")
    assert devices.main(["--config", str(config), "--json", str(tmp_path / "report.json")]) == 1
    assert "Conv2DBackpropFilter" in capsys.readouterr().out.partition("strayed:")[2]
    report = json.loads((tmp_path / "report.json").read_text())
    assert any("of tower b is on CPU:0, not on CPU:1" in line for line in report["strayed"])


def test_on_one_device_nothing_crosses() -> None:
    both = Towers("/device:CPU:0", "/device:CPU:0")
    placement = measure_placement(TrainingStep(with_few_units(PRESETS["paper"]), 3, both, 0, BLACK))
    assert placement.crossings == [] and placement.strayed == []


def test_one_tower_is_all_on_the_first_device(two_cpus: Towers) -> None:
    placement = measure_placement(TrainingStep(with_few_units(PRESETS["owt"]), 3, two_cpus, 0, BLACK))
    assert {(op.tower, op.device) for op in placement.operations} == {("a", "CPU:0")}
    assert placement.strayed == []
    assert not [crossing for crossing in placement.crossings if crossing.bytes and crossing.kind != "fed"]
    assert count(placement, "a", "forward", "Conv2D") == FILTERED_CONVOLUTIONS
    assert count(placement, "a", "gradient", "Conv2DBackpropInput") == FILTERED_CONVOLUTIONS - 1
