"""Checkpoints: damaged, lost, foreign; killed at any moment; the best one is always found again."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import remove
from alexnet_tf.runs import checkpoints as checkpoints_module
from alexnet_tf.runs.checkpoints import Checkpoints
from alexnet_tf.runs.records import read_record
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from alexnet_tf.training.loop import Trainer
from tests.alexnet_tf.training.run_files import metrics
from tests.faults.broken_runs import (
    DROPPED,
    OTHERS_SETTINGS,
    OTHERS_VARIABLES,
    assert_same_bits,
    back_to,
    before_validation,
    checkpoint,
    home_with,
    made_before_binding,
    names,
    refusal,
    start,
)
from tfrecords.manifest import load_manifest

Resume = Callable[..., None]
DATA = "variables.data-00000-of-00001"


def best_of(run: Path, towers: Towers) -> str:
    return trained_network(open_run(run), towers)[1].name


class TestWhatIsNotOurs:
    def test_is_left_alone_named_once_and_never_used(
        self, run: Path, resume: Resume, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        back_to(run, 5)
        folder = run / "checkpoints"
        shutil.copytree(checkpoint(run, 5), folder / "step-00000005-good")
        shutil.copytree(checkpoint(run, 5), folder / "step-00000007.damaged")
        shutil.copytree(checkpoint(run, 5), folder / "step-5")
        (folder / "step-notes.txt").write_text("mine")
        (folder / "step-00000000.txt").write_text("mine")
        (folder / ".unfinished-notes").mkdir()
        (folder / "step-00000001").mkdir()
        (folder / "step-00000001/notes.txt").write_text("mine")
        own = set(names(run)) - {"step-00000005"}
        resume(run)
        assert own <= set(names(run))
        told = capsys.readouterr().err
        for name in own:
            assert told.count(f" {name}") == 1, told
        assert told.count("left alone") == 1
        for name in own:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        assert_same_bits(run, finished)

    def test_a_checkpoint_with_a_users_file_in_it_is_not_removed(
        self, run: Path, resume: Resume, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (checkpoint(run, 8) / "notes.txt").write_text("mine")
        resume(run, steps=12)
        assert (checkpoint(run, 8) / "notes.txt").read_text() == "mine"
        assert capsys.readouterr().err.count(f"{checkpoint(run, 8)} stays") == 1

    @pytest.mark.parametrize("name", ["step-00000012", ".unfinished-step-00000012"])
    def test_in_the_place_of_a_checkpoint_to_come_is_told_at_once(self, run: Path, resume: Resume, name: str) -> None:
        own = run / "checkpoints" / name / "notes.txt"
        own.parent.mkdir()
        own.write_text("mine")
        assert f"{name} is no checkpoint, but bears the name" in refusal(lambda: resume(run, steps=12))
        assert own.exists()

    def test_of_another_run_are_no_measure_for_this_ones_best(
        self, run: Path, resume: Resume, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Another seed's checkpoint, better than any of this run's, copied in as an earlier step."""
        back_to(run, 5)
        record = read_record(checkpoint(run, 5))
        assert record.experiment is not None
        settings = {**record.experiment.settings, "train.seed": 7}
        other = record.model_copy(
            update={
                "step": 3, "top1_error": 0.0, "best_top1_error": 0.0,
                "experiment": record.experiment.model_copy(update={"settings": settings}),
            }
        )  # fmt: skip
        shutil.copytree(checkpoint(run, 5), checkpoint(run, 3))
        (checkpoint(run, 3) / "state.json").write_bytes(other.to_json())
        resume(run)
        assert capsys.readouterr().err.count(f"{checkpoint(run, 3)} is not considered") == 1
        shutil.rmtree(checkpoint(run, 3))  # it was not removed either
        assert_same_bits(run, finished)

    def test_half_written_and_half_removed_ones_go(self, run: Path, resume: Resume) -> None:
        half = run / "checkpoints/.unfinished-step-00000012"
        (half / "variables_temp").mkdir(parents=True)
        (half / "variables_temp/part-00000-of-00001").write_bytes(b"half")
        resume(run)
        assert not half.exists()


class TestDamage:
    @pytest.mark.parametrize("file", [DATA, "variables.index", "state.json"])
    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing", "not UTF-8", "brackets"])
    def test_is_told_and_what_the_line_advises_works(
        self, run: Path, resume: Resume, two_cpus: Towers, file: str, damage: str
    ) -> None:
        path = checkpoint(run, 9) / file
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        if damage == "missing":
            path.unlink()
        else:
            flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            damaged = {"cut": content[:middle], "flipped": flipped, "empty": b""}
            path.write_bytes(damaged.get(damage, b"\xff\xfe" if damage == "not UTF-8" else b"[" * 100_000))
        lines = [refusal(lambda: resume(run, steps=10))]
        lines.append(refusal(lambda: trained_network(open_run(run), two_cpus, "latest")))
        for line in lines:
            assert f"checkpoint {checkpoint(run, 9)} is damaged ({'its ' if 'of step' in line else ''}{file}" in line
            assert "move it out of" in line
        checkpoint(run, 9).rename(run.parent / f"away-{damage}")
        assert trained_network(open_run(run), two_cpus, "latest")[1] == checkpoint(run, 8)

    def test_every_digit_of_state_json_counts(self, run: Path, resume: Resume) -> None:
        path = checkpoint(run, 9) / "state.json"
        content = path.read_bytes()
        for place in range(0, len(content) - 1, 97):
            if content[place : place + 1].isspace():
                continue
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert "is damaged" in refusal(lambda: resume(run, steps=10))

    def test_state_of_another_step(self, run: Path, resume: Resume) -> None:
        shutil.copy(checkpoint(run, 8) / "state.json", checkpoint(run, 9) / "state.json")
        assert "its state.json is of step 8" in refusal(lambda: resume(run, steps=10))

    def test_variables_of_another_step(self, run: Path, resume: Resume) -> None:
        for name in (DATA, "variables.index"):
            shutil.copy(checkpoint(run, 8) / name, checkpoint(run, 9) / name)
        assert "is not as it was written" in refusal(lambda: resume(run, steps=10))

    def test_a_copy_under_another_step(self, run: Path, resume: Resume) -> None:
        shutil.copytree(checkpoint(run, 8), checkpoint(run, 11))
        assert "its state.json is of step 8" in refusal(lambda: resume(run, steps=12))

    def test_moved_away_inside_the_folder(self, run: Path, resume: Resume, finished: Path) -> None:
        away = checkpoint(run, 9).rename(run / "checkpoints/step-00000009.damaged")
        resume(run)
        assert away.exists()
        shutil.rmtree(away)
        assert_same_bits(run, finished)

    def test_emptied_checkpoint_is_not_passed_over(self, run: Path, resume: Resume) -> None:
        for path in checkpoint(run, 9).iterdir():
            path.unlink()
        assert "state.json is missing" in refusal(lambda: resume(run))


class TestBest:
    @pytest.mark.parametrize("text", [None, "", '{"chec', "[]", "\0", "\udcff", '{"checkpoint": "step-00000099"}'])
    def test_best_json_is_written_anew(
        self, run: Path, resume: Resume, finished: Path, two_cpus: Towers, text: str | None
    ) -> None:
        path = run / "best.json"
        path.unlink() if text is None else path.write_bytes(text.encode(errors="surrogateescape"))
        assert best_of(run, two_cpus) == "step-00000005"
        resume(run)
        assert_same_bits(run, finished)

    def test_saved_and_not_yet_validated(self, run: Path, resume: Resume, finished: Path) -> None:
        before_validation(run)
        resume(run)
        assert_same_bits(run, finished)
        assert [line["step"] for line in metrics(run, "validation")] == [5]
        assert [line["step"] for line in metrics(run, "checkpoint")] == [2, 4, 5, 6, 8, 9]

    def test_at_the_last_step(self, run: Path, resume: Resume, finished: Path) -> None:
        before_validation(run)
        resume(run, steps=5)
        assert (checkpoint(run, 5) / "state.json").read_bytes() == (checkpoint(finished, 5) / "state.json").read_bytes()

    def test_gone_is_told(
        self, run: Path, resume: Resume, two_cpus: Towers, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(checkpoint(run, 5))
        resume(run)
        assert best_of(run, two_cpus) == "step-00000009"
        told = capsys.readouterr().err
        assert told.count("the checkpoint with the lowest validation error") == 2 and "is gone" in told

    def test_damaged_is_told(self, run: Path, two_cpus: Towers) -> None:
        (checkpoint(run, 5) / "state.json").write_text("")
        assert "is damaged (state.json is broken)" in refusal(lambda: best_of(run, two_cpus))


class TestKilled:
    """kill -9 in a real process that has saved step 4 and is about to save and validate step 5, the end of an epoch.

    It runs under another project's settings of Keras and prints to a full disk: a process takes its time, and neither
    may change a bit.
    """

    @pytest.mark.parametrize(
        "kill",
        [
            pytest.param(("alexnet_tf.training.progress", "Progress.validated", 1, "after"), id="after the validation"),
            pytest.param(
                # The first two are of the checkpoint that is resumed from.
                ("alexnet_tf.runs.checkpoints", "file_sha256", 3, "before"), id="after the variables",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ("alexnet_tf.training.loop", "Trainer._validate", 1, "before"), id="before the validation",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ("alexnet_tf.runs.checkpoints", "put_in_place", 1, "before"), id="before the rename",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ("alexnet_tf.runs.checkpoints", "put_in_place", 1, "after"), id="after the rename",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ("alexnet_tf.runs.checkpoints", "Checkpoints.add_validation", 1, "after"), id="before best.json",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ("alexnet_tf.runs.checkpoints", "_remove_tree", 1, "before"), id="while pruning", marks=pytest.mark.slow
            ),
            pytest.param(
                ("alexnet_tf.runs.metrics", "Metrics.begin", 1, "before"), id="before the log", marks=pytest.mark.slow
            ),
        ],
    )  # fmt: skip
    def test_ends_in_the_same_bits(
        self, run_at_4: Path, resume: Resume, finished: Path, config: Path, tmp_path: Path,
        kill: tuple[str, str, int, str],
    ) -> None:  # fmt: skip
        run = run_at_4
        others = {"HOME": home_with(tmp_path, json.dumps(OTHERS_SETTINGS).encode()), **OTHERS_VARIABLES}
        arguments = ["--config", str(config), "--run", str(run), "train.steps=9"]
        with open("/dev/full", "w") as full:
            process = start(arguments, kill=kill, environment=others, stdout=full)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL and errors.splitlines().count(DROPPED) == 1, errors
        resume(run)
        assert_same_bits(run, finished)
        assert [line["step"] for line in metrics(run, "validation")] == [5]
        assert [line["step"] for line in metrics(run, "checkpoint")] == [2, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(
    "damage", ["empty", *(pytest.param(d, marks=pytest.mark.slow) for d in ("missing", "flipped"))]
)
def test_a_fault_in_validation_loses_no_epoch(
    run_at_4: Path, resume: Resume, finished: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:  # fmt: skip
    data = shutil.copytree(tiny_data, tmp_path / "data")
    shard = data / load_manifest(data).splits["val"].shards[0].file
    content = shard.read_bytes()
    validate = Trainer._validate

    def validating(trainer: Trainer) -> None:  # what is checked at the start is broken only now
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        shard.unlink() if damage == "missing" else shard.write_bytes(b"" if damage == "empty" else flipped)
        validate(trainer)

    monkeypatch.setattr(Trainer, "_validate", validating)
    with pytest.raises((UserError, tf.errors.OpError)):
        resume(run_at_4, f"data.dir={data}")
    assert names(run_at_4)[-1] == "step-00000005"
    monkeypatch.setattr(Trainer, "_validate", validate)
    shard.write_bytes(content)
    resume(run_at_4, f"data.dir={data}")
    assert_same_bits(run_at_4, finished)


def test_an_old_checkpoint_that_cannot_be_removed_ends_no_run(
    run: Path, resume: Resume, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree = shutil.rmtree

    def refusing(path: Path, *rest: object, **options: object) -> None:
        if not path.name.startswith(".unfinished-step-"):
            return rmtree(path, *rest, **options)
        raise OSError(39, os.strerror(39), str(path))

    monkeypatch.setattr(checkpoints_module.shutil, "rmtree", refusing)
    resume(run, steps=12)
    assert checkpoint(run, 12).exists()
    assert "cannot be removed (Directory not empty); remove it by hand" in capsys.readouterr().err


def test_a_temporary_folder_that_cannot_be_removed_ends_no_save(
    run: Path, resume: Resume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system, where a file that is still open keeps its folder."""
    write = tf.train.Checkpoint.write

    def writing(checkpoint: tf.train.Checkpoint, prefix: str) -> str:
        answer = write(checkpoint, prefix)
        (Path(prefix).parent / "variables_temp").mkdir()
        return answer

    monkeypatch.setattr(tf.train.Checkpoint, "write", writing)
    monkeypatch.setattr(checkpoints_module, "remove", lambda path: path.name == "variables_temp" or remove(path))
    resume(run, steps=14)
    assert (checkpoint(run, 14) / "variables_temp").is_dir()
    assert not checkpoint(run, 10).exists() or "step-00000010" in (run / "best.json").read_text()  # pruned as ever


def test_checkpoints_that_come_and_go_beneath_who_looks(run: Path) -> None:
    """As for an evaluation beside the training that prunes: whatever it meets, it is no fault."""
    over = threading.Event()

    def prune() -> None:
        folder = checkpoint(run, 8)
        while not over.is_set():
            folder.rename(folder.with_name(".unfinished-step-00000008"))
            folder.with_name(".unfinished-step-00000008").rename(folder)

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        for _ in range(500):
            assert {path.name for path in Checkpoints(run).found()} >= {"step-00000005", "step-00000009"}
    finally:
        over.set()
        pruning.join()


def test_what_follows_a_save_reads_each_checkpoint_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(checkpoints_module, "read_record", lambda path: read.append(path) or read_record(path))
    checkpoints = Checkpoints(run)
    found = checkpoints.found()
    checkpoints.tidy(print)
    assert read == found and len(found) == 3


class TestEarlierVersion:
    def test_goes_on_and_exports_as_it_is(
        self, run: Path, resume: Resume, two_cpus: Towers, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made_before_binding(run)
        assert best_of(run, two_cpus) == "step-00000005"
        best_error = json.loads((run / "best.json").read_text())["top1_error"]
        resume(run, steps=10)
        told = capsys.readouterr().err
        assert told.count("was saved by an earlier version") == 2
        record = json.loads((checkpoint(run, 10) / "state.json").read_text())
        assert ("step-00000005" in names(run)) == (
            record["top1_error"] >= best_error
        )  # kept until there is a better one
        assert record["top1_error"] is not None and record["experiment"]["settings"]["train.seed"] == 0

    @pytest.mark.parametrize("lost", ["best.json", "metrics.jsonl"])
    def test_the_best_is_found_without_one_of_its_two_files(self, run: Path, two_cpus: Towers, lost: str) -> None:
        made_before_binding(run)
        (run / lost).unlink()
        assert best_of(run, two_cpus) == "step-00000005"
