"""A run's folder: lock, settings, checkpoints whole or not at all, and faults told in one line."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.sections import AugmentConfig, TrainConfig
from alexnet_tf.towers import Towers
from tfrecords.manifest import Manifest, load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

Open = Callable[..., TrainingFolder]


@pytest.fixture(scope="module")
def manifest(tiny_data: Path) -> Manifest:
    return load_manifest(tiny_data)


@pytest.fixture
def opened(runs: Path, tiny_data: Path, manifest: Manifest) -> Open:
    """Opens runs/run with overrides of the default config."""
    statistics = Statistics.load(tiny_data / STATISTICS_FILE)

    def opening(*overrides: str, manifest: Manifest = manifest, statistics: Statistics = statistics) -> TrainingFolder:
        config = parse_config("", "test", [f"data.dir={tiny_data}", *overrides])
        return TrainingFolder(runs / "run", config, Classes.of(manifest), statistics, manifest)

    return opening


def refusal(act: Callable[[], object]) -> str:
    """The one line with which `act` is refused."""
    with pytest.raises(UserError) as fault:
        act()
    line = str(fault.value)
    assert line and "\n" not in line
    return line


def numbers(start: float = 0.0) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(w=tf.Variable(tf.range(1000.0) + start))


def save(folder: TrainingFolder, step: int, error: float | None = None) -> None:
    """A checkpoint whose values begin with 1000 * step, with a validation error where one is given."""
    state = TrainingState(step=step, validation_due=error is not None)
    folder.save(numbers(1000.0 * step), state)
    if error is not None:
        folder.add_validation(TrainingState(step=step, best_top1_error=error), error)


def saved_steps(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())


class TestCheckpoints:
    def test_fresh_run_begins_at_step_0(self, opened: Open) -> None:
        with opened() as folder:
            assert folder.restore(numbers()) == TrainingState()

    def test_latest_comes_back(self, opened: Open) -> None:
        state = TrainingState(step=12, drops=1, best_top1_error=0.25, epochs_since_best=2)
        with opened() as folder:
            save(folder, 4)
            folder.save(numbers(7.0), state)
        with opened() as folder:
            values = numbers()
            assert folder.restore(values) == state
            np.testing.assert_array_equal(values.w, np.arange(1000) + 7)

    def test_best_and_two_latest_are_kept(self, opened: Open, runs: Path) -> None:
        with opened() as folder:
            for step, error in ((1, 0.6), (2, 0.5), (3, 0.5), (4, None), (10, None)):
                save(folder, step, error)
        assert saved_steps(runs / "run") == [3, 4, 10]  # of equal errors the later checkpoint is the best
        best = json.loads((runs / "run/best.json").read_text())
        assert best == {"checkpoint": "step-00000003", "top1_error": 0.5}

    def test_the_same_step_again_is_refused(self, opened: Open, runs: Path) -> None:
        with opened() as folder:
            save(folder, 3)
            assert "step-00000003 is in the way" in refusal(lambda: save(folder, 3))
            assert folder.restore(numbers()).step == 3
        assert saved_steps(runs / "run") == [3]

    def test_half_written_one_is_neither_used_nor_kept(self, opened: Open, runs: Path) -> None:
        with opened() as folder:
            save(folder, 3)
        half = runs / "run/checkpoints/.unfinished-step-00000009"
        half.mkdir()
        (half / "variables.index").write_bytes(b"half")
        with opened() as folder:
            assert folder.restore(numbers()).step == 3
        assert not half.exists()

    @pytest.mark.parametrize("damage", ["cut", "flipped", "no data", "no index"])
    def test_damaged_variables(self, opened: Open, runs: Path, damage: str) -> None:
        with opened() as folder:
            save(folder, 3)
            save(folder, 6)
        checkpoint = runs / "run/checkpoints/step-00000006"
        data = checkpoint / "variables.data-00000-of-00001"
        content = bytearray(data.read_bytes())
        if damage == "cut":
            data.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            content[1000] ^= 1
            data.write_bytes(content)
        else:
            (data if damage == "no data" else checkpoint / "variables.index").unlink()
        with opened() as folder:
            line = refusal(lambda: folder.restore(numbers()))
            assert f"checkpoint {checkpoint} is damaged" in line
            # What the line advises works.
            checkpoint.rename(runs / "away")
        with opened() as folder:
            assert folder.restore(numbers()).step == 3

    @pytest.mark.parametrize("text", ["", '{"step": 6, "dro', '{"step": "six"}', '{"stride": 6}', None])
    def test_damaged_state(self, opened: Open, runs: Path, text: str | None) -> None:
        with opened() as folder:
            save(folder, 6)
        state = runs / "run/checkpoints/step-00000006/state.json"
        state.unlink() if text is None else state.write_text(text)
        assert f"checkpoint {state.parent} is damaged" in refusal(opened)

    def test_another_network(self, opened: Open, runs: Path) -> None:
        with opened() as folder:
            save(folder, 6)
            wider = tf.train.Checkpoint(w=tf.Variable(tf.zeros(2000)))
            line = refusal(lambda: folder.restore(wider))
            assert f"{runs / 'run/checkpoints/step-00000006'} holds another network" in line
            more = tf.train.Checkpoint(w=tf.Variable(tf.zeros(1000)), v=tf.Variable(0.0))
            assert "step-00000006" in refusal(lambda: folder.restore(more))

    def test_lost_checkpoints_are_no_fresh_start(self, opened: Open, runs: Path) -> None:
        (runs / "run").mkdir()
        (runs / "run/metrics.jsonl").write_text('{"kind": "train", "step": 5}\n')
        with opened() as folder:
            assert folder.restore(numbers()) == TrainingState()  # killed before its first checkpoint
        (runs / "run/metrics.jsonl").write_text('{"kind": "checkpoint", "step": 5}\n')
        assert f"the checkpoints of run {runs / 'run'} are gone" in refusal(opened)

    def test_lost_best_checkpoint_is_told_at_once(
        self, opened: Open, runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with opened() as folder:
            save(folder, 3, 0.25)
            folder.save(numbers(), TrainingState(step=6, best_top1_error=0.25))
        shutil.rmtree(runs / "run/checkpoints/step-00000003")
        with opened() as folder:
            assert folder.restore(numbers()).best_top1_error == 0.25
        assert "the checkpoint with the lowest validation error, 25.00%, is gone" in capsys.readouterr().err


class TestSameExperiment:
    @pytest.mark.parametrize(
        ("override", "before"),
        [
            ("train.seed=1", "0"),
            ("model.preset=2012-code", "paper"),
            ("data.batch_size=64", "128"),
            ("train.learning_rate=0.1", "0.01"),
            ("augment.noise=none", "eigenvalue"),
            ("data.shuffle_buffer=7", "10000"),
        ],
    )
    def test_changed_setting(self, opened: Open, runs: Path, override: str, before: str) -> None:
        opened().__exit__()
        config = (runs / "run/config.yaml").read_bytes()
        field, now = override.split("=")
        line = refusal(lambda: opened(override))
        assert line.startswith(f"{field} was {before} when run {runs / 'run'} began and is {now} now")
        assert (runs / "run/config.yaml").read_bytes() == config
        opened().__exit__()  # as before it goes on

    @pytest.mark.parametrize("preset", ["lenet5", "2012-code"])
    def test_a_value_that_the_preset_has_anyway_is_no_change(self, opened: Open, runs: Path, preset: str) -> None:
        given = [
            f"{section}.{key}={value if isinstance(value, str) else json.dumps(value)}"
            for section, kind in (("model", None), ("augment", AugmentConfig), ("train", TrainConfig))
            for key, value in PRESETS[preset].decided(section).items()
            if kind is None or key in kind.model_fields
        ]
        assert "model.activation" in str(given) and len(given) > 20
        plain = [f"model.preset={preset}"]
        with opened(*plain) as folder:
            save(folder, 1)
        with opened(*plain, *given) as folder:
            assert folder.restore(numbers()).step == 1
            save(folder, 2)
        with opened(*plain) as folder:
            assert folder.restore(numbers()).step == 2
        assert open_run(runs / "run").checkpoint().name == "step-00000002"

    def test_the_order_of_frozen_layers_is_no_change(self, opened: Open) -> None:
        opened("train.freeze=[conv1, conv2]").__exit__()
        opened("train.freeze=[conv2, conv1]").__exit__()
        assert "train.freeze was ['conv2', 'conv1']" in refusal(lambda: opened("train.freeze=[conv2]"))

    def test_changed_choice_of_a_network(self, opened: Open) -> None:
        opened("model.preset=lenet5").__exit__()
        line = refusal(lambda: opened("model.preset=lenet5", "model.activation=relu"))
        assert line.startswith("model.activation was tanh when run") and "is relu now" in line

    def test_changed_classes(self, opened: Open, manifest: Manifest, tiny_data: Path) -> None:
        opened().__exit__()
        fewer = manifest.model_copy(update={"class_keys": ["ant", "bee"], "class_names": ["a", "b"]})
        line = refusal(lambda: opened(manifest=fewer))
        assert "was trained on 3 classes" in line and f"{tiny_data} has 2" in line
        others = manifest.model_copy(update={"class_keys": ["ant", "bee", "dog"]})
        assert f"{tiny_data} has 3 and lacks cat but has dog" in refusal(lambda: opened(manifest=others))

    def test_changed_pictures(self, opened: Open, tiny_data: Path) -> None:
        opened().__exit__()
        statistics = Statistics.load(tiny_data / STATISTICS_FILE)
        others = dataclasses.replace(statistics, mean_image=statistics.mean_image + 1)
        assert f"{tiny_data} holds other training pictures" in refusal(lambda: opened(statistics=others))

    def test_other_workers_may_go_on_but_not_more_or_fewer(self, opened: Open, runs: Path) -> None:
        opened("distribute.workers=['a:1', 'b:1']").__exit__()
        opened("distribute.workers=['c:1', 'd:1']", "distribute.timeout=9").__exit__()
        assert open_run(runs / "run").config.distribute.workers == ("c:1", "d:1")
        for workers in ("[]", "['c:1', 'd:1', 'e:1', 'f:1']"):
            line = refusal(lambda workers=workers: opened(f"distribute.workers={workers}"))
            assert line.startswith("distribute.workers was ['c:1', 'd:1'] when run")

    def test_how_long_and_where_may_change(self, opened: Open, runs: Path) -> None:
        opened().__exit__()
        changes = ["train.epochs=3", "train.log_every=7", "devices.towers=one-cpu"]
        opened(*changes).__exit__()
        config = open_run(runs / "run").config
        assert (config.train.epochs, config.train.log_every) == (3, 7)
        assert config.devices.towers == "one-cpu"

    def test_one_process_at_a_time(self, opened: Open, runs: Path) -> None:
        with opened():
            line = refusal(opened)
            assert f"run {runs / 'run'} is being trained by another process" in line
        opened().__exit__()  # the lock went with the first


class TestMetrics:
    def test_what_came_after_the_checkpoint_is_cut_off(self, opened: Open, runs: Path) -> None:
        path = runs / "run/metrics.jsonl"
        with opened() as folder:
            folder.start_metrics(TrainingState())
            for step in (2, 4, 6):
                folder.log(kind="train", step=step)
        kept = path.read_text().splitlines()[:2]
        with path.open("a") as file:
            file.write('{"kind": "train", "st')  # killed while writing
        with opened() as folder:
            folder.start_metrics(TrainingState(step=4))
            folder.log(kind="train", step=6, loss=0.5)
        assert path.read_text().splitlines() == [*kept, '{"kind": "train", "step": 6, "loss": 0.5}']


class TestOpenRun:
    def test_what_was_saved(self, opened: Open, runs: Path, tiny_data: Path) -> None:
        opened("train.seed=4").__exit__()
        run = open_run(runs / "run")
        assert run.config == Config.model_validate({"data": {"dir": tiny_data}, "train": {"seed": 4}})
        assert run.classes.keys == ["ant", "bee", "cat"] and run.num_classes == 3
        expected = Statistics.load(tiny_data / STATISTICS_FILE)
        np.testing.assert_array_equal(run.statistics.mean_image, expected.mean_image)

    def test_no_run(self, tmp_path: Path) -> None:
        assert f"{tmp_path / 'x'} is no run" in refusal(lambda: open_run(tmp_path / "x"))

    @pytest.mark.parametrize("name", ["config.yaml", "classes.json", "statistics.npz"])
    def test_broken_file_is_named(self, opened: Open, runs: Path, name: str) -> None:
        opened().__exit__()
        (runs / "run" / name).write_text("{[")
        assert str(runs / "run" / name) in refusal(lambda: open_run(runs / "run"))

    @pytest.mark.usefixtures("small_net")
    def test_load_model(self, opened: Open, runs: Path, two_cpus: Towers) -> None:
        network = parse_config("", "x").preset.network
        trained = named_variables(build_network(network, 3, two_cpus, seed=8))
        checkpoint = tf.train.Checkpoint(weights=trained, velocities={name: tf.Variable(0.0) for name in trained})
        with opened() as folder:
            line = refusal(lambda: trained_network(open_run(runs / "run"), two_cpus))
            assert "has no checkpoint yet" in line
            trained["fc8_a/bias"].assign([1, 2, 3])
            folder.save(checkpoint, TrainingState(step=1))
            folder.add_validation(TrainingState(step=1, best_top1_error=0.1), 0.1)
            trained["fc8_a/bias"].assign([4, 5, 6])
            folder.save(checkpoint, TrainingState(step=2))
        run = open_run(runs / "run")
        for which, bias in (("best", [1, 2, 3]), ("latest", [4, 5, 6])):
            model, _ = trained_network(run, two_cpus, which)
            found = named_variables(model)
            np.testing.assert_array_equal(found.pop("fc8_a/bias"), bias)
            for name, variable in found.items():
                np.testing.assert_array_equal(variable, trained[name])
        (runs / "run/best.json").write_text("{")  # what is best follows from the checkpoints alone
        assert trained_network(run, two_cpus)[1].name == "step-00000001"
