"""The loop: resumed runs equal to the last bit, rates, losses gone wrong, faulty data."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import train
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.pictures.record_files import RecordBatches
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.metrics import read_lines
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import load_config
from alexnet_tf.towers import Towers
from alexnet_tf.training import loop as trainer_module
from alexnet_tf.training import saving_budget, start
from alexnet_tf.training.loop import Trainer
from alexnet_tf.training.progress import NoProgress
from tests.alexnet_tf.training.run_files import metrics, steps_of, tensors
from tests.conftest import convert_folder
from tests.slow_cases import slow
from tests.traced_once import trace_once
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics


class Remembering(NoProgress):
    """Keeps the lines that it is to say."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self.say = said.append


VARIABLES = 30
"""Kernels and biases: seven layers in either tower, and fc8."""
Train = Callable[..., None]
Arguments = Callable[..., list[str]]


def assert_same_to_the_last_bit(one: Path, other: Path, step: int) -> None:
    expected, found = tensors(one, step), tensors(other, step)
    assert expected.keys() == found.keys() and len(found) == 2 * VARIABLES
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name
    assert _state(one, step) == _state(other, step)


def _state(run: Path, step: int) -> dict:
    """Without the checksums: the files hold Keras' own names too, which count on within this process."""
    fields = json.loads((run / f"checkpoints/step-{step:08d}/state.json").read_text())
    return {name: value for name, value in fields.items() if name not in ("variables", "checksum")}


class TestResume:
    @pytest.mark.usefixtures("small_net")
    @pytest.mark.parametrize("chosen", ["model.preset=2012-code", *slow("model.preset=paper", "train.optimizer=sgdw")])
    def test_stopped_within_and_at_an_epochs_end(self, runs: Path, run_training: Train, chosen: str) -> None:
        run_training(runs / "whole", chosen, "train.steps=7")
        # Step 5 ends the first epoch. Where pictures are prepared may change from part to part.
        for stop, augment_on in ((3, "pipeline"), (5, "device"), (7, "pipeline")):
            run_training(runs / "parts", chosen, f"train.steps={stop}", f"data.augment_on={augment_on}")
        assert_same_to_the_last_bit(runs / "whole", runs / "parts", 7)
        velocities = [v for name, v in tensors(runs / "parts", 7).items() if "velocities" in name]
        assert all(np.abs(velocity).max() > 0 for velocity in velocities)
        self._compare_metrics(runs)

    def _compare_metrics(self, runs: Path) -> None:
        whole, parts = (metrics(runs / name, "validation") for name in ("whole", "parts"))
        assert [line["step"] for line in whole] == [5]
        for line in (*whole, *parts):
            del line["time"]
        assert whole == parts
        losses = {line["step"]: line["loss"] for line in metrics(runs / "whole", "train")}
        assert len(losses) == 6  # the first step compiles and is left out
        for line in metrics(runs / "parts", "train"):
            assert line["loss"] == losses[line["step"]]

    @pytest.mark.usefixtures("small_net")
    def test_frozen_layer_stands_still_and_the_others_move(self, runs: Path, run_training: Train) -> None:
        own = ("train.schedule=epochs", "train.layer_drops={conv1: {2: 0}}", "train.freeze=[fc7]")
        for stop in (4, 8):  # the second epoch begins with step 5
            run_training(runs / "run", *own, f"train.steps={stop}", "train.checkpoint_every=1")
        before, after = tensors(runs / "run", 7), tensors(runs / "run", 8)
        still = {name for name in after if np.array_equal(before[name], after[name])}
        parts = [f"{layer}_{tower}" for layer in ("conv1", "fc7") for tower in "ab"]
        assert still == {name for name in after if any(part in name for part in parts)}
        assert any(np.abs(after[name]).max() > 0 for name in still if "velocities" in name and "conv1" in name)
        changes = metrics(runs / "run", "rates")
        assert [line["step"] for line in changes] == [1, 5, 6]  # the second part of the run tells anew
        assert [line["rates"]["conv1_b/kernel"] for line in changes] == [0.003, 0.003, 0.0]

    @pytest.mark.slow
    def test_full_network(self, runs: Path, run_training: Train) -> None:
        run_training(runs / "whole", "train.steps=2")
        for stop in (1, 2):
            run_training(runs / "parts", f"train.steps={stop}")
        assert_same_to_the_last_bit(runs / "whole", runs / "parts", 2)

    @pytest.mark.usefixtures("small_net")
    def test_to_the_end_and_once_more(
        self, runs: Path, run_training: Train, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_training(runs / "run", "train.epochs=2")
        # 2 epochs of 24 are 48 images: ten batches of 5, of which the 5th and the 10th end an epoch.
        assert [line["step"] for line in metrics(runs / "run", "validation")] == [5, 10]
        for line in metrics(runs / "run", "validation"):
            assert line["images"] == 12 and 0 <= line["top1_error"] <= 1 and line["top5_error"] == 0
        assert {"loss", "weight_rate", "bias_rate", "images_per_second", "epoch"} <= set(
            metrics(runs / "run", "train")[0]
        )
        assert list((runs / "run/tensorboard").glob("events.*"))
        best = json.loads((runs / "run/best.json").read_text())
        validated = {line["step"]: line["top1_error"] for line in metrics(runs / "run", "validation")}
        assert best["top1_error"] == min(validated.values())
        latest_best = min(validated, key=lambda step: (validated[step], -step))
        assert best["checkpoint"] == f"step-{latest_best:08d}"
        run_training(runs / "run", "train.epochs=2")
        assert "is complete at step 10" in capsys.readouterr().out

    @pytest.mark.usefixtures("small_net")
    def test_damaged_checkpoint_is_no_fresh_start(self, runs: Path, run_training: Train) -> None:
        run_training(runs / "run", "train.steps=1")
        checkpoint = runs / "run/checkpoints/step-00000001"
        data = checkpoint / "variables.data-00000-of-00001"
        os.truncate(data, data.stat().st_size // 2)
        with pytest.raises(UserError, match=re.escape(f"checkpoint {checkpoint} is damaged")):
            run_training(runs / "run", "train.steps=2")
        assert steps_of(runs / "run") == [1]

    def test_changed_settings_are_told_before_the_network_is_built(
        self, runs: Path, run_training: Train, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(start, "Trainer", lambda *_: SimpleNamespace(run=lambda: None, complete=True))
        run_training(runs / "run")
        for change in ("train.seed=9", "model.preset=paper", "data.batch_size=6"):
            with pytest.raises(UserError, match=change.split("=")[0]):
                run_training(runs / "run", change)


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of equal settings share their graphs."""
    trace_once(monkeypatch)


@pytest.mark.usefixtures("small_net", "traced_once")
class TestEarlyStop:
    """With a rate of next to nothing the first validation error stays the best."""

    STANDS_STILL = ("train.learning_rate=1e-9", "train.epochs=9", "train.stop_after=2")

    def test_the_same_bits_and_the_same_stop_in_parts(
        self, runs: Path, run_training: Train, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_training(runs / "whole", *self.STANDS_STILL)
        # 4.8 steps are an epoch: the first three end with steps 5, 10 and 15.
        assert [line["step"] for line in metrics(runs / "whole", "validation")] == [5, 10, 15]
        told = "stopped at step 15 of 44: no new best validation error in 2 epochs (train.stop_after=2)"
        assert told in capsys.readouterr().out
        for stop in (7, 10, 12):
            run_training(runs / "parts", *self.STANDS_STILL, f"train.steps={stop}")
        run_training(runs / "parts", *self.STANDS_STILL)
        assert steps_of(runs / "parts")[-1] == steps_of(runs / "whole")[-1] == 15
        assert_same_to_the_last_bit(runs / "whole", runs / "parts", 15)
        assert told in capsys.readouterr().out
        run_training(runs / "parts", *self.STANDS_STILL)
        assert "is complete at step 15; raise train.stop_after to train longer" in capsys.readouterr().out
        best = json.loads((runs / "whole/best.json").read_text())
        assert best["checkpoint"] == "step-00000015"  # of equal ones the later
        run_training(runs / "parts", *self.STANDS_STILL, "train.stop_after=3")
        assert [line["step"] for line in metrics(runs / "parts", "validation")] == [5, 10, 15, 20]

    def test_a_validation_that_is_due_is_done_first(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer("train.stop_after=2")
        made.state.epochs_without_best = 2
        made.state.validation_due = True
        assert not made.complete
        made.state.validation_due = False
        assert made.complete

    def test_drops_of_the_rate_do_not_begin_the_count_anew(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer("train.schedule=plateau", "train.patience=2", "train.stop_after=5")
        for number, error in enumerate((0.5, 0.4, 0.6, 0.5, 0.4, 0.5)):
            made._follow_plateau(error)
            assert not made.complete, number
        made._follow_plateau(0.45)
        assert made.complete and made.state.drops == 2
        made._follow_plateau(0.39)
        assert not made.complete


@pytest.mark.usefixtures("small_net", "traced_once")
class TestSaving:
    """Where saving is dear, the ends of epochs go by without a checkpoint, and what counts is kept all the same."""

    LEARNS = ("train.epochs=6", "train.learning_rate=0.003")

    @pytest.fixture
    def dear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(saving_budget, "CHEAP_SECONDS", -1)

    def test_best_and_last_are_those_of_a_run_that_saves_every_epoch(
        self, runs: Path, run_training: Train, request: pytest.FixtureRequest
    ) -> None:
        run_training(runs / "every", *self.LEARNS)
        request.getfixturevalue("dear")
        run_training(runs / "few", *self.LEARNS, "train.saving_share=0")
        best = int(json.loads((runs / "every/best.json").read_text())["checkpoint"][5:])
        last = steps_of(runs / "every")[-1]
        assert steps_of(runs / "few") == [best, last]
        assert (runs / "few/best.json").read_bytes() == (runs / "every/best.json").read_bytes()
        assert best not in (5, last)
        for step in (best, last):
            assert_same_to_the_last_bit(runs / "every", runs / "few", step)
        saved = [line["step"] for line in metrics(runs / "few", "checkpoint")]
        assert saved == [5, best, last], "one to learn its cost, the best that waited, the last"

    def test_a_fault_in_a_validation_loses_no_epoch(
        self, runs: Path, arguments: Arguments, data: Path, dear: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shard, checked, calls = data / load_manifest(data).splits["val"].shards[0].file, evaluation_batches, []

        def removing(*rest: object, **options: object) -> RecordBatches:
            calls.append(shard.exists() and len(calls) == 1 and shard.unlink())  # before the second validation
            return checked(*rest, **options)

        monkeypatch.setattr(trainer_module, "evaluation_batches", removing)
        with pytest.raises(UserError, match=re.escape(str(shard))):
            train.main(arguments(runs / "run", f"data.dir={data}", *self.LEARNS, "train.saving_share=0"))
        assert steps_of(runs / "run") == [5, 10]
        assert _state(runs / "run", 10)["validation_due"]


@pytest.fixture
def trainer(
    runs: Path, tiny_data: Path, arguments: Arguments, two_cpus: Towers, small_net: None
) -> Iterator[Callable[..., Trainer]]:
    """Makes a Trainer whose progress only remembers the lines that it was to say, in `said`."""
    folders = []

    def make(*overrides: str) -> Trainer:
        config = load_config(Path(arguments(runs)[1]), list(overrides))
        statistics = Statistics.load(tiny_data / STATISTICS_FILE)
        manifest = load_manifest(tiny_data)
        folders.append(TrainingFolder(runs / "run", config, Classes.of(manifest), statistics))
        made = Trainer(config, two_cpus, folders[-1], manifest, statistics)
        made.said = []
        made.progress = Remembering(made.said)
        return made

    yield make
    for folder in folders:
        folder.__exit__()


class TestRates:
    def test_plateau(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer(
            "model.preset=paper", "train.patience=2", "train.learning_rate=0.01",
            "train.schedule=plateau",
        )  # fmt: skip
        # Error after each validation, and drops up to then. An error as low as the best is no
        # improvement; patience starts anew with every drop; three drops.
        course = [
            (0.90, 0), (0.80, 0), (0.80, 0), (0.85, 1), (0.85, 1), (0.70, 1), (0.75, 1), (0.71, 2), (0.70, 2),
            (0.70, 3), (0.70, 3), (0.70, 3),
        ]  # fmt: skip
        for error, drops in course:
            made._follow_plateau(error)
            assert made.state.drops == drops
            assert made._rates() == pytest.approx(dict.fromkeys(made.step.variables, 0.01 * 0.1**drops))
        assert made.state.best_top1_error == 0.70

    def test_listed_epochs(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer("train.schedule=epochs", "train.drop_epochs=[2, 4]")
        expected = {0: 3e-3, 4: 3e-3, 5: 3e-4, 9: 3e-4, 14: 3e-4, 15: 3e-5, 100: 3e-5}
        for step, rate in expected.items():  # 4.8 steps are an epoch
            made.state.step = step
            found = made._rates()
            assert found["fc6_b/kernel"] == pytest.approx(rate)
            assert found["fc6_b/bias"] == pytest.approx(6e-3)  # stays

    def test_scaled_rates_warm_up(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer(
            "data.batch_size=12", "distribute.base_batch_size=3", "distribute.rate_scaling=linear",
            "distribute.warmup_epochs=2",
        )  # fmt: skip
        # Goyal et al., section 2.2: from the rate before scaling, here 0.003, by equal amounts to four times as much.
        for step, rate in {0: 0.003, 1: 0.00525, 2: 0.0075, 3: 0.00975, 4: 0.012, 5: 0.012, 40: 0.012}.items():
            made.state.step = step  # 2 steps are an epoch
            assert made._rates()["conv1_a/kernel"] * made._warm_up() == pytest.approx(rate)

    def test_no_warm_up_without_scaling_or_for_a_smaller_batch(self, trainer: Callable[..., Trainer]) -> None:
        assert trainer("distribute.warmup_epochs=2")._warm_up() == 1

    @pytest.mark.usefixtures("small_net")
    def test_the_rates_of_the_warm_up_are_used_and_told(self, runs: Path, run_training: Train) -> None:
        scaling = ("distribute.base_batch_size=1", "distribute.rate_scaling=linear", "train.learning_rate=0.001")
        run_training(runs / "run", *scaling, "train.steps=3")
        epochs = [line["step"] - 1 for line in metrics(runs / "run", "train")]
        expected = [0.001 * (1 + 4 * (step * 5 / 24) / 5) for step in epochs]
        assert [line["weight_rate"] for line in metrics(runs / "run", "train")] == pytest.approx(expected)
        assert [line["rates"]["fc8_a/kernel"] for line in metrics(runs / "run", "rates")] == [0.005]
        velocity = next(v for n, v in tensors(runs / "run", 3).items() if "velocities" in n and "fc8_a" in n)
        assert np.abs(velocity).max() > 0


class TestLosses:
    @pytest.mark.usefixtures("small_net")
    @pytest.mark.parametrize(
        ("rate", "every", "line", "saved"),
        [
            (np.nan, 2, "the loss of step 4 is nan", [2]),
            # The loss is that from before the update: a checkpoint must not rely on it.
            (np.inf, 1, "the weights after step 3 are not finite", [1, 2]),
        ],
    )
    def test_not_finite(
        self, runs: Path, run_training: Train, two_cpus: Towers, monkeypatch: pytest.MonkeyPatch,
        rate: float, every: int, line: str, saved: list[int],
    ) -> None:  # fmt: skip
        def rates(trainer: Trainer) -> dict[str, float]:
            return dict.fromkeys(trainer.step.variables, 1e-3 if trainer.state.step < 2 else rate)

        monkeypatch.setattr(Trainer, "_rates", rates)
        with pytest.raises(UserError, match=line):
            run_training(runs / "run", f"train.checkpoint_every={every}", "train.steps=8")
        assert steps_of(runs / "run") == saved
        last = [fields for _, fields in read_lines(runs / "run" / "metrics.jsonl") if fields][-1]
        assert last == {"kind": "not_finite", "step": int(re.findall(r"\d+", line)[0])}
        model, checkpoint = trained_network(open_run(runs / "run"), two_cpus)
        assert checkpoint.name == "step-00000002"
        assert all(np.isfinite(value).all() for value in tensors(runs / "run", 2).values())
        assert np.isfinite(model(tf.zeros((1, 224, 224, 3)))).all()

    def test_stuck_is_told_once_with_what_to_try(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer("train.stuck_after=3")
        for _ in range(6):
            made._check_figures({"loss": 1.0985})  # ln 3 = 1.0986
        (line,) = made.said
        assert line.startswith("warning: after 3 steps the loss is 1.0")
        assert "guessing among 3 classes gives 1.099" in line and "train.learning_rate" in line

    def test_learning_is_not_told(self, trainer: Callable[..., Trainer]) -> None:
        made = trainer("train.stuck_after=3")
        for loss in (1.1, 1.05, 0.9, 1.1, 1.1):
            made._check_figures({"loss": loss})
        assert made.said == []

    @pytest.mark.usefixtures("small_net")
    def test_stuck_in_a_real_run(self, runs: Path, run_training: Train, capsys: pytest.CaptureFixture[str]) -> None:
        run_training(
            runs / "run", "model.preset=paper", "train.learning_rate=0", "train.stuck_after=2",
            "train.steps=2",
        )  # fmt: skip
        assert re.search(r"warning: after 2 steps the loss is 1\.[01]", capsys.readouterr().out)


class TestFaultyData:
    def test_shard_missing_cut_or_changed(self, runs: Path, arguments: Arguments, data: Path) -> None:
        shard = data / load_manifest(data).splits["train"].shards[1].file
        content = shard.read_bytes()
        for damaged in (None, content[:-1], content[:-1] + b"?"):
            shard.unlink()
            if damaged is not None:
                shard.write_bytes(damaged)
            with pytest.raises(UserError, match=re.escape(str(shard))):
                train.main(arguments(runs / "run", f"data.dir={data}"))
            shard.write_bytes(content)
        assert not (runs / "run").exists()

    def test_no_data(self, runs: Path, arguments: Arguments, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no data folder .*absent"):
            train.main(arguments(runs / "run", f"data.dir={tmp_path / 'absent'}"))

    @pytest.mark.usefixtures("small_net")
    def test_shard_damaged_while_training(
        self, runs: Path, arguments: Arguments, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shard = data / load_manifest(data).splits["train"].shards[1].file
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        checked = trainer_module.training_batches

        def damaging(*rest: object, **options: object) -> tf.data.Dataset:
            shard.write_bytes(content)  # after the check at the start
            return checked(*rest, **options)

        monkeypatch.setattr(trainer_module, "training_batches", damaging)
        with pytest.raises(UserError, match=re.escape(str(shard))):
            train.main(arguments(runs / "run", f"data.dir={data}"))

    @pytest.mark.usefixtures("small_net")
    def test_pictures_of_another_size(self, runs: Path, arguments: Arguments, tiny_data: Path, tmp_path: Path) -> None:
        pictures = tiny_data.parent
        for split in ("train", "val"):
            (tmp_path / split).symlink_to(pictures / split)
        small = convert_folder(tmp_path, "--size=240")
        with pytest.raises(UserError, match="240"):
            train.main(arguments(runs / "run", f"data.dir={small}", "train.steps=1"))


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of the records to damage."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tiny_data.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy
