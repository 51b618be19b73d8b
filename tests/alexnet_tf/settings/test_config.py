"""Settings: what is refused and how it is told, presets under overrides, the way to YAML and back."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import Config, dump_config, load_config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Preset

ROOT = Path(__file__).resolve().parents[3]


def fault_of(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as fault:
        parse_config(text, "some.yaml", list(overrides))
    line = str(fault.value)
    assert "\n" not in line
    return line


class TestFaults:
    def test_unknown_key_is_named_with_its_section_and_the_known_ones(self) -> None:
        line = fault_of("train: {epoch: 3}")
        assert line.startswith("some.yaml: unknown key train.epoch;")
        known = line.split("known here: ")[1].split(", ")
        assert "epochs" in known and "learning_rate" in known and "batch_size" not in known

    def test_unknown_section(self) -> None:
        line = fault_of("trian: {epochs: 3}")
        assert "unknown key trian;" in line
        assert line.split("known here: ")[1].split(", ") == list(Config.model_fields)

    @pytest.mark.parametrize(
        ("text", "field", "value"),
        [
            ("train: {epochs: many}", "train.epochs", "'many'"),
            ("train: {epochs: 0}", "train.epochs", "0"),
            ("data: {batch_size: 1.5}", "data.batch_size", "1.5"),
            ("data: {batch_size: -4}", "data.batch_size", "-4"),
            ("train: {learning_rate: .nan}", "train.learning_rate", "'.nan'"),
            ("train: {learning_rate: .inf}", "train.learning_rate", "'.inf'"),
            ("train: {momentum: 1}", "train.momentum", "1"),
            ("train: {drop_epochs: [2, x]}", "train.drop_epochs.1", "'x'"),
            ("model: {preset: alexnet}", "model.preset", "'alexnet'"),
            ("augment: {max_offset: 33}", "augment.max_offset", "33"),
            ("devices: {towers: two}", "devices.towers", "'two'"),
            ("train: 7", "train", "7"),
        ],
    )
    def test_wrong_value_is_named_with_its_field(self, text: str, field: str, value: str) -> None:
        line = fault_of(text)
        assert line.startswith(f"some.yaml: {field}: ")
        assert line.endswith(f"got {value}")

    def test_crop_beyond_the_picture(self) -> None:
        line = fault_of("model: {preset: caffe}", "augment.max_offset=30")
        told = "augment.max_offset: preset caffe cuts 227 pixels of 256, so 29 at most, got 30"
        assert line == f"some.yaml with augment.max_offset=30: {told}"

    @pytest.mark.parametrize(
        ("overrides", "told"),
        [
            (["distribute.workers=[a]"], "distribute.workers.0: "),
            (["distribute.workers=['a:1', 'b:70000']"], "distribute.workers: port 70000 of b:70000 is above 65535"),
            (["distribute.workers=['a:1', 'b:1', 'a:1']"], "distribute.workers: a:1 is listed twice"),
            (["distribute.workers=['a:1', 'b:1', 'c:1']"], "data.batch_size: 128 images cannot be shared equally by 3"),
            (
                ["distribute.workers=['a:1', 'b:1']", "distribute.index=2"],
                "distribute.index: index 2 is out of range: 2 workers have indices 0 and 1",
            ),
            (
                ["distribute.index=1"],
                "distribute.index: index 1 is out of range: a run without distribute.workers has index 0 only",
            ),
            (["distribute.timeout=1"], "distribute.timeout: "),
            (["distribute.gradient_dtype=float16"], "distribute.gradient_dtype: "),
            (
                ["distribute.workers=['a:1', 'b:1']", "train.cache_features=true", "train.freeze=[conv1]"],
                "train.cache_features: is for one process",
            ),
        ],
    )
    def test_workers(self, overrides: list[str], told: str) -> None:
        line = fault_of("", *overrides)
        blamed = [one for one in overrides if one.partition("=")[0] in told + line.rpartition(told)[2]]
        assert line.startswith(f"some.yaml with {' '.join(blamed)}: {told}" if blamed else f"some.yaml: {told}")

    @pytest.mark.parametrize("override", ["epochs=3", "train.epochs", "train.=3", ".epochs=3", ""])
    def test_misshapen_override(self, override: str) -> None:
        line = fault_of("", override)
        assert repr(override) in line and "section.key=value" in line

    def test_override_is_checked_like_the_file(self) -> None:
        assert "unknown key train.epoch;" in fault_of("", "train.epoch=3")
        assert "train.epochs" in fault_of("", "train.epochs=[")
        assert "train.epochs: " in fault_of("", "train.epochs=x")

    def test_a_sound_file_is_not_blamed_for_the_command_line(self) -> None:
        sound, others = "train: {epochs: 3}", ["data.dir=here", "train.seed=1"]
        line = fault_of(sound, *others, "train.epochs_=7", "train.epoch=3")
        assert line.startswith("some.yaml with train.epochs_=7: unknown key train.epochs_;")
        assert fault_of(sound, *others, "train.epochs=-3").startswith("some.yaml with train.epochs=-3: train.epochs: ")
        long = "x" * 90
        assert fault_of(sound, f"train.epochs={long}").startswith(f"some.yaml with train.epochs={long[:47]}...: ")
        assert fault_of(sound, "train.epochs=1\n2").startswith(r"some.yaml with 'train.epochs=1\n2': train.epochs: ")
        assert fault_of("train: {epochs: x}", *others).startswith("some.yaml: train.epochs: ")

    @pytest.mark.parametrize("text", ["- a\n- b", "just words", "3"])
    def test_no_sections(self, text: str) -> None:
        assert "must hold sections (model, data," in fault_of(text)

    def test_no_yaml(self) -> None:
        assert fault_of("train: [1, 2").startswith("some.yaml is no valid YAML")

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"absent\.yaml cannot be read: No such file"):
            load_config(tmp_path / "absent.yaml")


class TestValues:
    def test_empty_file_is_the_paper(self) -> None:
        assert parse_config("", "empty") == Config()
        assert Config().preset == PRESETS["paper"]
        assert Config().data.batch_size == 128

    def test_file_then_override(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_text("train: {epochs: 3, seed: 5}\ndata:\n")
        config = load_config(path, ["train.epochs=4", "data.dir=/x y/z", "train.drop_epochs=[2, 3]"])
        assert (config.train.epochs, config.train.seed) == (4, 5)
        assert config.data.dir == Path("/x y/z")
        assert config.train.drop_epochs == (2, 3)

    @pytest.mark.parametrize("name", PRESETS)
    def test_preset_is_chosen_and_overridden_field_by_field(self, name: str) -> None:
        config = parse_config(
            f"model: {{preset: {name}}}\ntrain: {{learning_rate: 0.003, decay_biases: true}}\n"
            "augment: {noise: none, max_offset: 0}",
            "some.yaml",
        )
        base, found = PRESETS[name], config.preset
        assert found.network == base.network
        assert found.train.learning_rate == 0.003 and found.train.decay_biases is True
        assert found.train.bias_rate_factor == base.train.bias_rate_factor
        assert found.train.drop_epochs == base.train.drop_epochs
        assert found.augment.noise == "none" and found.augment.max_offset == 0
        assert found.augment.noise_divisor == base.augment.noise_divisor

    def test_a_zero_or_false_override_is_one(self) -> None:
        overrides = ["train.weight_decay=0", "train.drop_bias_rate=false", "train.max_drops=0"]
        recipe = parse_config("", "x", overrides).preset.train
        assert (recipe.weight_decay, recipe.drop_bias_rate, recipe.max_drops) == (0, False, 0)

    def test_rates_scale_with_the_batch_where_asked_to(self) -> None:
        large = ["data.batch_size=512", "train.learning_rate=0.02"]
        assert parse_config("", "x", large).preset.train.learning_rate == 0.02
        scaled = parse_config("", "x", [*large, "distribute.rate_scaling=linear"])
        assert (scaled.rate_scale, scaled.preset.train.learning_rate) == (4, 0.08)
        own = parse_config("", "x", [*large, "distribute.rate_scaling=linear", "distribute.base_batch_size=1024"])
        assert own.preset.train.learning_rate == 0.01

    def test_presets_state_what_the_sources_differ_in(self) -> None:
        paper, program = PRESETS["paper"], PRESETS["2012-code"]
        assert (paper.network.lrn_alpha, program.network.lrn_alpha) == (1e-4, pytest.approx(2e-5))
        assert (paper.augment.max_offset, program.augment.max_offset) == (31, 32)
        assert (paper.augment.images_per_draw, program.augment.images_per_draw) == (1, 32)
        assert (paper.augment.mean, program.augment.mean) == ("per-offset", "center")
        assert (paper.augment.noise_divisor, program.augment.noise_divisor) == (1.0, 1.1)
        for preset in (paper, program):
            assert preset.network.lrn_depth_radius == 2  # a window of 5, not of 11
            assert preset.train.weight_decay == 0.0005 and preset.train.momentum == 0.9

    def test_presets_of_published_weights_are_caffes_and_torchvisions(self) -> None:
        caffe, caffenet, owt = (PRESETS[name] for name in ("caffe", "caffenet", "owt"))
        for network in (caffe.network, caffenet.network):
            assert (network.lrn_alpha, network.lrn_beta, network.lrn_bias) == (pytest.approx(2e-5), 0.75, 1.0)
        assert (caffe.network.nonzero_bias, caffenet.network.nonzero_bias) == (0.1, 1.0)
        assert (caffe.train.bias_rate_factor, caffe.train.decay_biases) == (2.0, False)
        assert (owt.train.weight_decay, owt.train.drop_epochs) == (1e-4, (31, 61))
        assert [round(divisor, 3) for divisor in owt.augment.color_divisors] == [58.395, 57.12, 57.375]

    @pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
    def test_network_takes_the_crop_that_is_cut(self, preset: Preset) -> None:
        assert preset.network.image_size == preset.augment.crop_size <= 256 - preset.augment.max_offset

    @pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
    def test_dumped_config_parses_to_itself(self, path: Path) -> None:
        first = load_config(path).preset.network.layers[0]
        overrides = ["train.steps=7", "augment.noise=none", f"train.layer_drops={{{first}: {{3: 0.1, 5: 0}}}}"]
        config = load_config(path, overrides)
        assert parse_config(dump_config(config), "dumped") == config

    @pytest.mark.parametrize(
        ("name", "preset", "epochs", "drops", "conv1", "noise_until"),
        [
            ("alexnet_paper", "paper", 90, (), {}, None),
            ("alexnet_2012_code", "2012-code", 90, (25, 51, 79), {67: 1e-3, 72: 0}, 67),
            ("alexnet_2012_code_ilsvrc2010", "2012-code", 92, (23, 51, 78), {68: 1e-3, 72: 0}, 68),
        ],
    )
    def test_full_length_configs(
        self, name: str, preset: str, epochs: int, drops: tuple, conv1: dict, noise_until: int | None
    ) -> None:
        """The values they spell out are the preset's, but for the epochs of the 2010 log."""
        found, base = load_config(ROOT / f"configs/{name}.yaml").preset, PRESETS[preset]
        own = {"epochs": epochs, "drop_epochs": drops, "layer_drops": {"conv1": conv1} if conv1 else {}}
        assert found.train == replace(base.train, **own)
        assert found.augment == replace(base.augment, noise_until_epoch=noise_until)
        assert found.network == base.network


def test_config_is_read_without_tensorflow() -> None:
    code = "import sys, alexnet_tf.settings.config, train\nassert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
