"""What a run is bound to: config.yaml, classes, statistics, data. Each that differs is named; no start from nothing."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from alexnet_tf import evaluate, learning_curve
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.metrics import read_lines, read_metrics
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import parse_config
from alexnet_tf.towers import Towers
from alexnet_tf.training.imported_run import write_run
from alexnet_tf.training.step import TrainingStep
from tests.conftest import convert_folder
from tests.faults.broken_runs import INTERNAL, assert_same_bits, back_to, made_before_binding, refusal
from tfrecords.manifest import load_manifest, write_manifest
from tfrecords.statistics import Statistics

Resume = Callable[..., None]
TOO_MUCH = [b"", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 400, b"9" * 5000, b"\0" * 4096]
"""What no file of a run may hold: nothing, no UTF-8, too deep, numbers of too many digits, what a power cut leaves."""


def changed(run: Path, **changes: object) -> None:
    """Changes settings in config.yaml, given as section__key."""
    path = run / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        section, key = name.split("__")
        tree[section][key] = value
    path.write_text(yaml.safe_dump(tree))


class TestConfig:
    def test_deleted_with_the_same_settings_it_is_written_anew(self, run: Path, resume: Resume, finished: Path) -> None:
        before = (run / "config.yaml").read_bytes()
        (run / "config.yaml").unlink()
        resume(run)
        assert (run / "config.yaml").read_bytes() == before

    @pytest.mark.parametrize("override", ["train.learning_rate=0.1", "train.seed=9", "data.batch_size=6"])
    def test_deleted_with_other_settings_it_is_refused(self, run: Path, resume: Resume, override: str) -> None:
        (run / "config.yaml").unlink()
        own = {name: (run / name).read_bytes() for name in ("statistics.npz", "classes.json")}
        line = refusal(lambda: resume(run, override))
        field, now = override.split("=")
        assert line.startswith(f"{field} was ") and f"is {now} now" in line and "step-00000009" in line
        assert not (run / "config.yaml").exists()
        assert own == {name: (run / name).read_bytes() for name in own}

    @pytest.mark.parametrize("content", TOO_MUCH)
    def test_broken(self, run: Path, resume: Resume, two_cpus: Towers, content: bytes) -> None:
        (run / "config.yaml").write_bytes(content)
        for act in (lambda: resume(run), lambda: trained_network(open_run(run), two_cpus)):
            assert str(run / "config.yaml") in refusal(act)
        (run / "config.yaml").unlink()  # as the line advises
        resume(run)

    def test_changed_together_with_the_command(self, run: Path, resume: Resume) -> None:
        changed(run, train__seed=9)
        assert refusal(lambda: resume(run, "train.seed=9")).startswith("train.seed was 0 when checkpoint")

    @pytest.mark.parametrize(("name", "value"), [("augment__crop", "center"), ("train__seed", 3)])
    def test_changed_it_is_seen_by_evaluation_too(self, run: Path, two_cpus: Towers, name: str, value: object) -> None:
        changed(run, **{name: value})
        line = refusal(lambda: trained_network(open_run(run), two_cpus))
        assert f"{run / 'config.yaml'}: {name.replace('__', '.')} is {value}" in line

    def test_what_may_change_may_change(self, run: Path, resume: Resume, two_cpus: Towers) -> None:
        resume(run, "train.log_every=3", "devices.threads=2")
        assert open_run(run).config.train.log_every == 3
        trained_network(open_run(run), two_cpus)

    def test_deleted_in_a_run_of_an_earlier_version(self, run: Path, resume: Resume) -> None:
        made_before_binding(run)
        (run / "config.yaml").unlink()
        assert "config.yaml is missing" in refusal(lambda: resume(run))

    def test_train_steps_reached_is_told_to_be_raised(
        self, run: Path, resume: Resume, capsys: pytest.CaptureFixture[str]
    ) -> None:
        resume(run)
        assert "raise train.steps to train longer" in capsys.readouterr().out


class TestClassesAndStatistics:
    @pytest.mark.parametrize("content", [None, *TOO_MUCH])
    @pytest.mark.parametrize("name", ["classes.json", "statistics.npz"])
    def test_broken(self, run: Path, resume: Resume, name: str, content: bytes | None) -> None:
        (run / name).unlink() if content is None else (run / name).write_bytes(content)
        both = (lambda: open_run(run), lambda: resume(run))
        for act in both[:1] if (name, content) == ("classes.json", None) else both:
            line = refusal(act)
            assert str(run / name) in line and "restore it" in line and "convert" not in line

    @pytest.mark.parametrize("steps", [9, 10])
    def test_lost_classes_are_written_anew_from_the_data(self, run: Path, resume: Resume, steps: int) -> None:
        """As the line of an evaluation advises, of a run that is complete and of one that goes on."""
        before = (run / "classes.json").read_bytes()
        (run / "classes.json").write_bytes(b"{")
        assert "restore it from a copy, or move it away: the command" in refusal(lambda: open_run(run))
        (run / "classes.json").unlink()
        resume(run, steps=steps)
        assert (run / "classes.json").read_bytes() == before

    def test_classes_of_other_data_are_not_written(self, run: Path, resume: Resume, tiny_data: Path) -> None:
        (run / "classes.json").unlink()
        other = shutil.copytree(tiny_data, run.parent / "other")
        manifest = load_manifest(other)
        write_manifest(other, manifest.model_copy(update={"class_keys": ["x", "y", "z"]}))
        refusal(lambda: resume(run, f"data.dir={other}"))
        assert not (run / "classes.json").exists()

    @pytest.mark.parametrize("name", ["classes.json", "statistics.npz"])
    def test_missing_together_with_config_yaml_they_are_written_anew(
        self, run: Path, resume: Resume, name: str
    ) -> None:
        before = (run / name).read_bytes()
        (run / name).unlink()
        (run / "config.yaml").unlink()
        resume(run)
        assert (run / name).read_bytes() == before

    def test_broken_where_the_run_trains_with_its_own(self, run: Path, resume: Resume) -> None:
        (run / "statistics.npz").write_bytes(b"")
        line = refusal(lambda: resume(run, f"data.statistics={run / 'statistics.npz'}"))
        assert line == f"{run / 'statistics.npz'} is broken: restore it"

    def test_exchanged_they_are_seen_by_evaluation(self, run: Path, two_cpus: Towers) -> None:
        classes = json.loads((run / "classes.json").read_text())
        classes["keys"].reverse()
        (run / "classes.json").write_text(json.dumps(classes))
        assert f"{run / 'classes.json'} is not the one" in refusal(lambda: trained_network(open_run(run), two_cpus))

    @pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c", "d"]])
    def test_another_number_of_names_than_of_keys(self, run: Path, names: list[str]) -> None:
        """Nothing binds the names, which people may change: only their number must be right."""
        classes = json.loads((run / "classes.json").read_text())
        (run / "classes.json").write_text(json.dumps({**classes, "names": names}))
        assert f"{run / 'classes.json'} is broken" in refusal(lambda: open_run(run))

    @pytest.mark.parametrize("kind", ["U1", "complex128", "float32", "int64", "bool"])
    def test_statistics_of_another_type(self, run: Path, kind: str) -> None:
        with np.load(run / "statistics.npz") as arrays:
            other = {name: array if name == "pixels" else array.astype(kind) for name, array in arrays.items()}
        np.savez(run / "statistics.npz", **other)
        assert f"{run / 'statistics.npz'} is broken" in refusal(lambda: open_run(run))

    def test_another_mean_image_is_seen_by_evaluation(self, run: Path, two_cpus: Towers) -> None:
        Statistics.of_mean_image(np.full((256, 256, 3), 117.0)).save(run / "statistics.npz")
        assert f"{run / 'statistics.npz'} is not the one" in refusal(lambda: trained_network(open_run(run), two_cpus))

    def test_any_bit_of_statistics_npz_is_refused_or_harmless(self, run: Path) -> None:
        path = run / "statistics.npz"
        content, expected = path.read_bytes(), Statistics.load(path).digest()
        # The headers of the archive and of its arrays, where a flip is least foreseeable, bit by bit; then samples.
        headers = [place for start in _starts(content) for place in range(start, start + 220, 3)]
        refused = 0
        for place in [*headers, *range(0, len(content), 40_009), *range(len(content) - 400, len(content), 3)]:
            bit = 1 << (place * 5 % 8)
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            try:
                assert Statistics.load(path, "restore it").digest() == expected
            except UserError as fault:
                refused += 1
                line = str(fault)
                assert str(path) in line and line.endswith("restore it") and "\n" not in line
                assert not [part for part in INTERNAL if part in line]
        assert refused > 200


def _starts(content: bytes) -> list[int]:
    """Where in an archive the headers of its files begin."""
    found, place = [], content.find(b"PK\x03\x04")
    while place >= 0:
        found.append(place)
        place = content.find(b"PK\x03\x04", place + 1)
    return found


class TestData:
    @pytest.fixture
    def data(self, tiny_data: Path, tmp_path: Path) -> Path:
        return shutil.copytree(tiny_data, tmp_path / "copy")

    def test_statistics_of_other_data_beside_the_manifest(self, fresh: Path, resume: Resume, data: Path) -> None:
        """Of the same shape, such as those of another conversion: nothing else would tell."""
        Statistics.of_mean_image(np.full((256, 256, 3), 117.0)).save(data / "statistics.npz")
        line = refusal(lambda: resume(fresh, f"data.dir={data}"))
        assert line.startswith(f"{data / 'statistics.npz'} is not the one that was written with the manifest")
        assert not fresh.exists()

    def test_data_of_an_earlier_version_tell_nothing_of_their_statistics(
        self, run: Path, resume: Resume, data: Path
    ) -> None:
        write_manifest(data, load_manifest(data).model_copy(update={"statistics": None}))
        resume(run, f"data.dir={data}")

    def test_elsewhere_they_are_the_same(self, run: Path, resume: Resume, data: Path) -> None:
        resume(run, f"data.dir={data}")

    @pytest.mark.parametrize(("split", "meaning"), [("train", "training"), ("val", "validation")])
    def test_shards_in_another_order(self, run: Path, resume: Resume, data: Path, split: str, meaning: str) -> None:
        manifest = load_manifest(data)
        part = manifest.splits[split]
        turned = part.model_copy(update={"shards": part.shards[::-1]})
        write_manifest(data, manifest.model_copy(update={"splits": {**manifest.splits, split: turned}}))
        line = refusal(lambda: resume(run, f"data.dir={data}", steps=10))
        assert f"{data} lists the {meaning} shards in another order" in line

    @pytest.mark.parametrize("option", ["--seed=5", "--shards=3"])
    def test_the_same_pictures_in_another_conversion(
        self, run: Path, resume: Resume, tiny_data: Path, tmp_path: Path, option: str
    ) -> None:
        data = self._converted(tiny_data, tmp_path, option)
        line = refusal(lambda: resume(run, f"data.dir={data}", steps=10))
        assert f"{data} holds other training records (24 now, 24 then)" in line

    def test_pictures_that_were_turned_in_another_way(self, run: Path, resume: Resume, data: Path) -> None:
        manifest = load_manifest(data)
        write_manifest(data, manifest.model_copy(update={"exif": "ignore"}))
        line = refusal(lambda: resume(run, f"data.dir={data}", steps=10))
        assert f"{data} was converted with --exif ignore" in line and "with --exif apply" in line

    def test_another_validation_split(self, run: Path, resume: Resume, tiny_data: Path, tmp_path: Path) -> None:
        shutil.copytree(tiny_data.parent / "val", tmp_path / "fewer")
        for folder in (tmp_path / "fewer").iterdir():
            sorted(folder.iterdir())[0].unlink()
        data = self._converted(tiny_data, tmp_path, val=tmp_path / "fewer")
        line = refusal(lambda: resume(run, f"data.dir={data}", steps=10))
        assert f"{data} holds other validation records (9 now, 12 then)" in line

    def _converted(self, tiny_data: Path, folder: Path, *options: str, val: Path | None = None) -> Path:
        (folder / "train").symlink_to(tiny_data.parent / "train")
        (folder / "val").symlink_to(val or tiny_data.parent / "val")
        return convert_folder(folder, *options)


class TestLostCheckpoints:
    @pytest.mark.parametrize("lost", [["metrics.jsonl"], ["metrics.jsonl", "best.json", "tensorboard"], []])
    def test_no_start_from_nothing(self, run: Path, resume: Resume, lost: list[str]) -> None:
        for name in ("checkpoints", *lost):
            path = run / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert f"the checkpoints of run {run} are gone" in refusal(lambda: resume(run))

    def test_of_an_earlier_version(self, run: Path, resume: Resume) -> None:
        made_before_binding(run)
        for path in ("checkpoints", "metrics.jsonl"):
            shutil.rmtree(run / path) if (run / path).is_dir() else (run / path).unlink()
        assert "are gone" in refusal(lambda: resume(run))

    def test_of_imported_weights(
        self, tmp_path: Path, resume: Resume, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, small_net: None
    ) -> None:
        run = tmp_path / "imported"
        text = yaml.safe_dump(
            {
                "model": {"preset": "2012-code"},
                "data": {"dir": str(tiny_data), "statistics": str(run / "statistics.npz"), "batch_size": 5},
            }
        )
        config = parse_config(text, "the settings", [])
        classes = Classes.of(load_manifest(tiny_data))
        statistics = Statistics.load(tiny_data / "statistics.npz")
        step = TrainingStep(config.preset, 3, Towers.unplaced(), 0)
        values = {name: variable.numpy() for name, variable in step.variables.items()}
        left = tmp_path / ".unfinished-imported-77"  # by an import that was killed
        left.mkdir()
        (left / "lock").touch()
        (tmp_path / ".unfinished-imported-mine").mkdir()
        write_run(run, config, classes, statistics, values)
        assert {path.name for path in tmp_path.glob(".unf*")} == {".unfinished-imported-mine"}
        for path in (run / "checkpoints").iterdir():
            shutil.rmtree(path)
        assert f"the checkpoints of run {run} are gone" in refusal(
            lambda: resume(run, "train.learning_rate=null", f"data.statistics={run / 'statistics.npz'}")
        )

    def test_killed_before_its_first_checkpoint_it_begins_anew(
        self, run: Path, resume: Resume, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("saved.json", "best.json", "metrics.jsonl"):
            (run / name).unlink()
        shutil.rmtree(run / "checkpoints")
        resume(run, steps=1)
        assert (run / "checkpoints/step-00000001").is_dir()
        assert f"run {run} starts at step 0 of 1\n" in capsys.readouterr().out

    def test_no_run_is_begun_over_other_files(self, tmp_path: Path, resume: Resume, small_net: None) -> None:
        Statistics.of_mean_image(np.zeros((256, 256, 3))).save(tmp_path / "statistics.npz")
        assert f"{tmp_path / 'statistics.npz'} is not the one" in refusal(lambda: resume(tmp_path))


BROKEN_LINES = [
    b"\xff\xfe", b'{"kind": "train", "step": ' + b"9" * 5000 + b"}", b"[" * 100_000, b"\0" * 4096,
    b'{"kind": "train", "step": NaN}', b'{"kind": "train", "step": 1e400}', b'{"kind": 1, "step": 1}',
]  # fmt: skip


class TestMetrics:
    def test_broken_lines_stop_no_run(self, run: Path, resume: Resume, capsys: pytest.CaptureFixture[str]) -> None:
        path = run / "metrics.jsonl"
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([*lines[:3], *BROKEN_LINES, *lines[3:]]) + b"\n")
        training, validation = read_metrics(path)
        assert len(training) >= 8 and len(validation) == 1
        assert learning_curve.main(["--run", str(run), "--out", str(run / "curve.png")]) == 0
        back_to(run, 8)
        resume(run, steps=9)
        after = path.read_bytes().splitlines()
        assert not set(BROKEN_LINES) & set(after) and len(after) >= len(lines)
        assert f"{len(BROKEN_LINES)} broken lines were left out" in capsys.readouterr().err

    @pytest.mark.parametrize("line", BROKEN_LINES)
    def test_each_of_them_is_passed_over(self, tmp_path: Path, line: bytes) -> None:
        (tmp_path / "metrics.jsonl").write_bytes(b'{"kind": "train", "step": 1}\n' + line + b"\n")
        assert [fields for _, fields in read_lines(tmp_path / "metrics.jsonl")] == [{"kind": "train", "step": 1}, None]


class TestLock:
    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
    def test_a_file_system_without_locks_is_no_other_process(
        self, fresh: Path, resume: Resume, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def refusing(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refusing)
        line = refusal(lambda: resume(fresh))
        assert str(fresh / "lock") in line and "its file system has no locks" in line and "another process" not in line


def test_run_is_a_file(tmp_path: Path, resume: Resume) -> None:
    (tmp_path / "run").touch()
    for run in (tmp_path / "run", tmp_path / "run/below"):
        assert f"{run} cannot be written" in refusal(lambda run=run: resume(run))


def test_evaluation_of_a_finished_run(run: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--run", str(run)]) == 0
    assert "12 images" in capsys.readouterr().out


def test_copied_run_goes_on_to_the_same_bits(run: Path, resume: Resume, finished: Path) -> None:
    back_to(run, 6)
    resume(run)
    assert_same_bits(run, finished)
