"""Shards that are cut, changed or gone while they are read: the right file is named, and no epoch gets shorter."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import train
from alexnet_tf.pictures.input_pipeline import evaluation_batches, evaluation_files, training_batches
from alexnet_tf.pictures.record_files import RecordBatches, RecordFiles
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.training.loop import Trainer
from tests.alexnet_tf.training.run_files import steps_of
from tests.conftest import convert_folder
from tests.faults.damage import FAULTS, cut_between_records, empty, flip_a_bit, relabel
from tests.narrow_nets import shrink_net
from tests.slow_cases import slow
from tests.traced_once import trace_once
from tfrecords import verify
from tfrecords.manifest import MANIFEST_FILE, load_manifest, shard_paths
from tfrecords.statistics import STATISTICS_FILE, Statistics

Damage = Callable[[Path], None]
ROOT = Path(__file__).resolve().parents[2]
PER_EPOCH = 24
INTERNAL = re.compile(r"function_node|Op:|\w+Error|IteratorGetNext|ataset was expected")
"""What no message may hold."""


@pytest.fixture(scope="module")
def two_val_shards(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `tiny_data` in 4 training and 2 validation shards of 6 records each; not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    for split in ("train", "val"):
        (root / split).symlink_to(tiny_data.parent / split)
    return convert_folder(root, "--shards=4")


@pytest.fixture
def data(two_val_shards: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(two_val_shards, tmp_path / "data"))


def reader(data: Path, which: str, batches: int = 2 * PER_EPOCH // 5) -> RecordBatches:
    manifest = load_manifest(data)
    if which == "training":
        return training_batches(
            data, manifest, Statistics.load(data / STATISTICS_FILE), PRESETS["2012-code"].augment,
            batch_size=5, seed=3, shuffle_buffer=4,
        ).take(batches)  # fmt: skip
    if which == "files":
        return evaluation_files(data, manifest, split="val", batch_size=5)
    return evaluation_batches(data, manifest, split="val", batch_size=5)


def shard_of(data: Path, which: str, number: int = 1) -> Path:
    return shard_paths(data, load_manifest(data), "train" if which == "training" else "val")[number]


@pytest.mark.parametrize("damage", FAULTS, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("which", ["training", "evaluation", "files"])
class TestWhileReading:
    def test_the_file_is_named(self, data: Path, which: str, damage: Damage) -> None:
        batches, shard = reader(data, which), shard_of(data, which)
        damage(shard)
        with pytest.raises(UserError, match=re.escape(f"shard {shard} ")) as told:
            list(batches)
        assert not INTERNAL.search(str(told.value))
        assert "restore the file or convert again" in str(told.value)


@pytest.mark.parametrize("damage", [cut_between_records, empty, Path.unlink], ids=lambda damage: damage.__name__)
def test_damage_in_a_later_epoch(data: Path, damage: Damage) -> None:
    batches = iter(reader(data, "training", 10_000))
    for _ in range(PER_EPOCH // 5):
        next(batches)
    damage(shard_of(data, "training", 3))
    with pytest.raises(UserError, match=re.escape(f"shard {shard_of(data, 'training', 3)} ")):
        for _ in range(3000):  # ever more epochs would be all right with a shard less
            next(batches)


def test_manifest_that_counts_wrongly(data: Path) -> None:
    """The files are as listed in bytes and checksums; only counting their records tells."""
    tree = json.loads((data / MANIFEST_FILE).read_text())
    for split, by in (("train", 1), ("val", -1)):
        first, second = tree["splits"][split]["shards"][:2]
        first["records"] += by
        second["records"] -= by
    (data / MANIFEST_FILE).write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"shard .*val-00000-of-00002: 6 records, the manifest says 5"):
        list(reader(data, "evaluation"))
    with pytest.raises(UserError, match=r"shard .*train-0000[01]-of-00004: 6 records, the manifest says [57]"):
        list(reader(data, "training"))


def test_a_file_that_is_only_touched_is_read(data: Path) -> None:
    batches, shard = reader(data, "evaluation"), shard_of(data, "evaluation")
    content = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(content)
    assert sum(len(labels) for _, labels in batches) == 12


def test_what_is_not_the_files_fault_is_not_blamed_on_them(data: Path) -> None:
    files = RecordFiles.of_split(data, load_manifest(data), "val")
    fault = tf.errors.ResourceExhaustedError(None, None, "{{function_node x}} Too many open files [Op:IteratorGetNext]")
    line = str(files.fault_behind(fault))
    assert "cannot be read: Too many open files; raise the limit on open files (ulimit -n)" in line
    assert not INTERNAL.search(line) and "convert again" not in line
    fault = tf.errors.InternalError(None, None, "{{function_node x}} something else [Op:IteratorGetNext]")
    line = str(files.fault_behind(fault))
    assert "failed (something else)" in line and "files are as they should be" in line
    assert not INTERNAL.search(line) and "convert again" not in line


@pytest.mark.parametrize("name", ["a[1] b] c\\d e* g? ä {x} '#%", *slow("a[1]", "b]", "c\\d", "e*", "g?")])
def test_data_may_be_anywhere(tiny_data: Path, tmp_path: Path, name: str) -> None:
    """Signs of patterns in a path do no harm to records: only checkpoints and models are looked for by pattern."""
    (tmp_path / name).mkdir()
    for split in ("train", "val"):
        (tmp_path / name / split).symlink_to(tiny_data.parent / split)
    data = convert_folder(tmp_path / name)
    assert verify.main([str(data)]) == 0
    for which, count in (("training", 45), ("evaluation", 12), ("files", 12)):
        assert sum(len(labels) for _, labels in reader(data, which)) == count
    assert tfds.builder_from_directory(data).info.splits["val"].num_examples == 12


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("which", ["training", "evaluation", "files"])
def test_label_that_is_none(data: Path, which: str, label: int) -> None:
    shard = relabel(data, "train" if which == "training" else "val", label)
    with pytest.raises(UserError, match=re.escape(f"shard {shard} holds label {label}, labels go from 0 to 2")):
        list(reader(data, which))


def arguments(data: Path, run: Path, *overrides: str) -> list[str]:
    """Of train.py: 24 pictures in batches of 5, so the fifth step ends an epoch."""
    config = data / "tiny.yaml"
    config.write_text(
        f"model: {{preset: 2012-code}}\ndata: {{dir: {data}, batch_size: 5, eval_batch_size: 5}}\n"
        "devices: {towers: two-cpus}\n"
    )
    return ["--config", str(config), "--run", str(run), *overrides]


@pytest.mark.parametrize("damage", [cut_between_records, flip_a_bit], ids=lambda damage: damage.__name__)
def test_validation_shard_damaged_while_training(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage
) -> None:
    validate, shard = Trainer._validate, shard_of(data, "evaluation")

    def damaged(*trainer: Trainer) -> object:
        damage(shard)
        return validate(*trainer)

    shrink_net(monkeypatch)
    trace_once(monkeypatch)
    monkeypatch.setattr(Trainer, "_validate", damaged)
    with pytest.raises(UserError, match=re.escape(f"shard {shard} ")) as told:
        train.main(arguments(data, tmp_path / "run", "train.steps=6", "train.checkpoint_every=2"))
    assert "training record" not in str(told.value)
    assert steps_of(tmp_path / "run")[-1] == 5  # the end of the epoch was saved before it was validated
    shutil.rmtree(tmp_path / "run")


def test_no_validation_pictures(tmp_path: Path, data: Path) -> None:
    tree = json.loads((data / MANIFEST_FILE).read_text())
    tree["splits"]["val"] = {"records": 0, "class_counts": [0, 0, 0], "shards": []}
    (data / MANIFEST_FILE).write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"has no pictures in split 'val'"):
        train.main(arguments(data, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # many tests see that faults are told in one line, and that TensorFlow's start is silent
def test_the_line_stands_alone_on_stderr(data: Path, tmp_path: Path) -> None:
    """The command as a user runs it: status 1, one line, nothing of TensorFlow's."""
    shard = shard_of(data, "training")
    cut_between_records(shard)
    command = [sys.executable, "train.py", *arguments(data, tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: shard {shard} was cut or changed: ") and done.stderr.count("\n") == 1


UNFINISHED = """
import sys
from alexnet_tf.pictures.input_pipeline import training_batches
from alexnet_tf.settings.presets import PRESETS
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

data = sys.argv[1]
batches = iter(training_batches(
    data, load_manifest(data), Statistics.load(f"{data}/{STATISTICS_FILE}"), PRESETS["paper"].augment,
    batch_size=128, seed=0, shuffle_buffer=12,
))
for _ in range(3):
    next(batches)
"""


@pytest.mark.slow
def test_a_script_that_reads_half_of_its_batches_ends(tiny_data: Path) -> None:
    """The pipeline decodes in Python functions, which no longer run once the interpreter is on its way out."""
    subprocess.run([sys.executable, "-c", UNFINISHED, str(tiny_data)], cwd=ROOT, check=True, timeout=60)
