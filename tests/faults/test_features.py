"""Stored features that are cut, damaged, half-written or of other weights: computed anew, or named when read."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.towers import Towers
from alexnet_tf.training.frozen_features import FrozenFeatures
from tests.faults.damage import FAULTS, cut_between_records, empty, flip_a_bit
from tests.narrow_nets import shrink_net
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

Damage = Callable[[Path], None]
FREEZE = "train.freeze=[conv1, conv2, conv3, conv4, conv5, fc6, fc7]"


@pytest.fixture(scope="module")
def config(tiny_data: Path) -> Config:
    chosen = [f"data.dir={tiny_data}", "data.eval_batch_size=12", FREEZE, "train.cache_features=true"]
    return parse_config("model: {preset: 2012-code}", "x", [*chosen, "augment.crop=center", "augment.noise=none"])


@pytest.fixture(scope="module")
def net(config: Config, two_cpus: Towers) -> Iterator[Network]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        yield build_network(config.preset.network, 3, two_cpus)


Stored = Callable[[], FrozenFeatures]


@pytest.fixture
def stored(config: Config, net: Network, tiny_data: Path, tmp_path: Path) -> Stored:
    """The features as a run that starts or goes on has them."""
    manifest, statistics = load_manifest(tiny_data), Statistics.load(tiny_data / STATISTICS_FILE)
    return lambda: FrozenFeatures(tmp_path / "features", net, "fc7", config, manifest, statistics)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_sound_is_not_computed_again(
    stored: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored().folder
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    stored()
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "anew" not in capsys.readouterr().err


def test_damage_before_a_start_is_mended(
    stored: Stored, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file is hurt in its turn and not taken; what is computed anew is the same to the last bit."""
    features = stored()
    folder, origin = features.folder, features._origin(Statistics.load(tiny_data / STATISTICS_FILE))
    own = folder / "train-notes.txt"
    own.write_text("a user's own")
    sound = contents(folder)
    hurt: list[tuple[str, Damage]] = [
        ("train-00001-of-00004", cut_between_records),
        ("train-00000-of-00004", empty),
        ("val-00000-of-00002", flip_a_bit),
        ("train-00002-of-00004", Path.unlink),
        ("features.json", lambda path: path.write_bytes(path.read_bytes()[:-40])),
        ("features.json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("features.json", lambda path: path.write_bytes(b"[" * 100_000)),
        ("features.json", empty),
    ]
    for name, damage in hurt:
        damage(folder / name)
        assert features._stored(origin) is None
        told = capsys.readouterr().err
        assert str(folder / name) in told and "computed anew" in told
        (folder / name).write_bytes(sound[name])
    for name, damage in hurt[:1] + hurt[4:5]:
        damage(folder / name)
        stored()
        assert contents(folder) == sound, name
    (folder / "features.json").unlink()
    (folder / ".unfinished-train-00002-of-00004").write_bytes(b"half")
    (folder / "train-00002-of-00004").unlink()
    stored()
    assert contents(folder) == sound


def test_features_of_other_weights_are_not_taken(
    stored: Stored, net: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored().folder
    before = contents(folder)
    head, conv5 = named_variables(net)["fc8_a/kernel"], named_variables(net)["conv5_b/bias"]
    head.assign_add(head * 0 + 1)  # trained all the time
    stored()
    assert contents(folder) == before
    try:
        conv5.assign_add(conv5 * 0 + 1)
        stored()
    finally:
        conv5.assign_sub(conv5 * 0 + 1)
    assert "were computed from other weights; the features are computed anew" in capsys.readouterr().err
    assert contents(folder)["train-00000-of-00004"] != before["train-00000-of-00004"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_damage_while_reading_names_the_feature_file(stored: Stored, tmp_path: Path, split: str) -> None:
    features = stored()
    path = features.files[split].paths[-1]
    sound = path.read_bytes()
    for damage in FAULTS:
        read = stored()
        damage(path)
        batches = read.training_batches(5, 0).take(10) if split == "train" else read.evaluation_batches("val")
        with pytest.raises(UserError, match=re.escape(f"feature file {path} ")) as told:
            list(batches)
        assert "shard" not in str(told.value) and "to compute the features anew" in str(told.value)
        path.write_bytes(sound)


def test_a_folder_that_cannot_be_made(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file")
    with pytest.raises(UserError, match=r"features cannot be made a folder: .*; move away what bears its name"):
        stored()


@pytest.mark.parametrize("name", ["features.json", "train-00000-of-00004", ".unfinished-val-00000-of-00002"])
def test_a_users_folder_in_the_place_of_a_file_is_named_and_stays(stored: Stored, name: str) -> None:
    folder = stored().folder
    (folder / "features.json").unlink()
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    (folder / name / "notes.txt").write_text("mine")
    (folder / ".unfinished-notes").write_text("mine")
    with pytest.raises(UserError, match=re.escape(f"{folder / name} is a folder in the place of a feature file")):
        stored()
    (folder / name / "notes.txt").unlink()
    (folder / name).rmdir()
    stored()
    assert (folder / ".unfinished-notes").read_text() == "mine"
