"""Every setting is explained: its value, where that comes from, its default and its meaning."""

import ast
from pathlib import Path

import pytest

import train
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.place import check_run_place
from alexnet_tf.settings.cluster import find_cluster
from alexnet_tf.settings.config import Config, load_config, parse_config
from alexnet_tf.settings.explained import MEANINGS, Setting, as_yaml, by_origin, settings_in_force
from alexnet_tf.settings.presets import PRESETS

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
FIELDS = [f"{section}.{key}" for section, fields in Config().model_dump().items() for key in fields]
FIELDS[1:1] = [f"model.{choice}" for choice in Config().preset.network.choices]
"""All that a config of the usual preset may set."""


def explained(text: str = "", *overrides: str) -> dict[str, Setting]:
    config = parse_config(text, "my.yaml", list(overrides))
    return {setting.name: setting for setting in settings_in_force(config, config, "my.yaml", list(overrides))}


def test_every_field_has_a_meaning() -> None:
    settings = explained()
    assert list(settings) == FIELDS
    for setting in settings.values():
        assert len(setting.meaning.split()) > 3 and setting.meaning.endswith((".", "all", "once")), setting.name
    assert set(MEANINGS) <= set(FIELDS)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_what_a_network_leaves_to_choose(preset: str) -> None:
    network = PRESETS[preset].network
    settings = explained(f"model: {{preset: {preset}}}")
    own = [name for name in settings if name.startswith("model.")]
    assert own == ["model.preset", *(f"model.{choice}" for choice in network.choices)]
    for name in own[1:]:
        value = getattr(network, name.removeprefix("model."))
        assert (settings[name].value, settings[name].origin) == (value, f"preset {preset}")
        if isinstance(value, str):
            assert f" One of {value}" in settings[name].meaning or f", {value}" in settings[name].meaning


def test_choices_are_named() -> None:
    settings = explained()
    assert settings["train.class_weights"].meaning.endswith(" One of none, balanced.")
    assert "One of" not in settings["train.freeze"].meaning and "One of" not in settings["train.epochs"].meaning


def test_where_values_come_from() -> None:
    text = (
        "model: {preset: 2012-code}\ndata: {batch_size: 7, statistics: }\n"
        "train: {learning_rate: 0.5, seed: 0, momentum: 0.8}"
    )
    found = explained(text, "train.learning_rate=", "train.momentum=0.7", "train.epochs=3")
    told = {name: (found[name].value, found[name].origin) for name in found}
    assert told["model.preset"] == ("2012-code", "config my.yaml")
    assert told["data.batch_size"] == (7, "config my.yaml")
    assert told["train.seed"] == (0, "config my.yaml")  # though it is the default, too
    assert told["train.momentum"] == (0.7, "command line")
    assert told["train.epochs"] == (3, "command line")
    assert told["train.learning_rate"] == (0.01, "preset 2012-code")  # the override takes the config's back
    assert told["train.layer_drops"] == ({"conv1": {"67": 1e-3, "72": 0.0}}, "preset 2012-code")
    assert told["augment.noise_until_epoch"] == (67, "preset 2012-code")
    assert told["data.statistics"] == (None, "default")
    assert told["train.patience"] == (3, "default") and told["train.steps"] == (None, "default")
    assert found["train.momentum"].default == 0.9 and found["data.batch_size"].default == 128


def test_workers_of_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}'
    monkeypatch.setenv("TF_CONFIG", workers)
    given = parse_config("", "my.yaml")
    config, _ = find_cluster(given)
    found = {setting.name: setting for setting in settings_in_force(given, config, "my.yaml", [])}
    assert (found["distribute.workers"].value, found["distribute.workers"].origin) == (["a:1", "b:2"], "TF_CONFIG")
    assert {setting.origin for setting in found.values()} == {"TF_CONFIG", "default", "preset paper"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_resolved_yaml_is_a_config_of_the_same_recipe(path: Path) -> None:
    config = load_config(path)
    text = as_yaml(settings_in_force(config, config, str(path), []))
    resolved = parse_config(text, "resolved.yaml")
    assert resolved.preset == config.preset
    assert resolved.model.preset == config.model.preset
    for section in ("data", "devices", "distribute"):
        assert getattr(resolved, section) == getattr(config, section)
    assert text.count("null") < 12  # what is left to the preset is told


@pytest.mark.parametrize("folder", ["a b", "a: b #c", "a\nb", "ä\u2028", "'\"", "010", "null", "[x]", "{}"])
def test_odd_paths_survive(folder: str) -> None:
    config = parse_config("", "x\ny", [f"data.dir=/{folder}"])
    text = as_yaml(settings_in_force(config, config, "x\ny", [f"data.dir=/{folder}"]))
    assert parse_config(text.encode().decode(), "resolved.yaml").data == config.data


def test_values_are_told_by_their_origin() -> None:
    lines = by_origin(list(explained("train: {seed: 4}", "train.epochs=3").values()))
    assert [line.partition(":")[0] for line in lines] == ["command line", "config my.yaml", "preset paper", "default"]
    assert lines[:2] == ["command line: train.epochs=3", "config my.yaml: train.seed=4"]
    assert "train.learning_rate=0.01" in " ".join(lines[2].split())


class TestCommand:
    def test_shows_every_field_and_trains_nothing(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        config = tmp_path / "c.yaml"
        config.write_text("data: {dir: nowhere}")
        assert train.main(["--show-config", "--config", str(config), "train.seed=3"]) == 0
        lines = capsys.readouterr().out.splitlines()
        heads = [line for line in lines if not line.startswith(" ")]
        assert [head.partition(" = ")[0] for head in heads] == FIELDS
        assert f"data.dir = nowhere    (config {config}; default data)" in heads
        assert "train.seed = 3    (command line; default 0)" in heads
        assert "train.learning_rate = 0.01    (preset paper; default 0.01)" in heads
        assert list(tmp_path.iterdir()) == [config]

    def test_needs_no_tensorflow(self) -> None:
        """It imports settings alone, of which the linter and another test see that they do not import TensorFlow."""
        source = (ROOT / "alexnet_tf/settings/explained.py").read_text(encoding="utf-8")
        roots = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
        assert {name.rpartition(".")[0] for name in roots if name.startswith("alexnet_tf")} == {"alexnet_tf.settings"}

    def test_data_are_no_place_for_a_run(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text("{}")
        with pytest.raises(UserError, match=r"^--run .* holds converted data; give"):
            train.main(["--config", str(CONFIGS[0]), "--run", str(tmp_path)])

    def test_other_folders_are_no_place_for_a_run(self, tmp_path: Path) -> None:
        for name in ("ant", "bee", "cat", "dog", ".git"):
            (tmp_path / "pictures" / name).mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match=r"pictures holds other folders \(ant, bee, cat, \.\.\.\) and no run; give"):
            train.main(["--config", str(CONFIGS[0]), "--run", str(tmp_path / "pictures")])
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("there", ["train.log", "checkpoints/", "pictures/ metrics.jsonl", ".ipynb_checkpoints/"])
    def test_a_run_may_begin_beside_files_and_where_one_was(self, tmp_path: Path, there: str) -> None:
        for name in there.split():
            (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
        check_run_place(tmp_path)
        check_run_place(tmp_path / "new")

    def test_a_run_is_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            train.main(["--config", str(CONFIGS[0])])
        assert ended.value.code == 2 and "--run is missing" in capsys.readouterr().err
