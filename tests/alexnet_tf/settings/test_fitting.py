"""What new-config writes fits the pictures, loads as any config, and says why."""

import itertools
import json
from pathlib import Path

import pytest

from alexnet_tf import new_config
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.settings.config import Config, dump_config, load_config, parse_config
from alexnet_tf.settings.fitting import Begun, batch_size, fitting_config
from tfrecords.manifest import Manifest, Shard, Split, load_manifest

SIZES = [1, 15, 216, 999, 1000, 5000, 10_000, 60_000, 1_281_167]


def manifest_of(*counts: int, size: int = 256, channels: int = 3) -> Manifest:
    """Of data with so many training pictures of each class."""
    keys = [f"n{number}" for number in range(len(counts))]
    shard = Shard(file="train-00000-of-00001", records=sum(counts), bytes=1, sha256="0" * 64)
    split = Split(records=sum(counts), class_counts=list(counts), shards=[shard])
    splits = {"train": split, "val": split}
    return Manifest(
        size=size,
        channels=channels,
        encoding="raw",
        quality=None,
        seed=0,
        class_keys=keys,
        class_names=keys,
        splits=splits,
    )


def config_of(manifest: Manifest, begun: Begun | None = None) -> tuple[Config, str]:
    text = fitting_config(Path("data/own: pictures"), manifest, begun)
    return parse_config(text, "new"), text


@pytest.mark.parametrize("pictures", SIZES)
@pytest.mark.parametrize("begun", [None, "2012-code", "paper", "caffe", "owt"])
def test_every_value_has_a_reason_and_the_whole_loads(pictures: int, begun: str | None) -> None:
    other = Begun(Path("runs/a"), parse_config("", "run", [f"model.preset={begun}"]), False) if begun else None
    config, text = config_of(manifest_of(pictures - pictures // 2, pictures // 2), other)
    assert config.data.dir == Path("data/own: pictures")
    assert config.model.preset == (begun or "2012-code")
    assert config.data.batch_size == batch_size(pictures)
    assert config.preset.train.learning_rate > 0
    assert all(epoch <= config.preset.train.epochs for epoch in config.preset.train.drop_epochs)
    lines = text.splitlines()
    fields = [before for before, line in itertools.pairwise(lines) if line.startswith("  ") and line[2].isalpha()]
    assert len(fields) >= 3 and all(before.startswith("  # ") for before in fields)
    assert max(map(len, lines)) <= 120


def test_the_batch_grows_with_the_pictures() -> None:
    assert [batch_size(pictures) for pictures in SIZES] == [16, 16, 16, 16, 16, 32, 32, 64, 128]


def test_few_pictures_take_another_nets_weights() -> None:
    own = parse_config("", "run", ["augment.mean=per-offset", "augment.mirror=false"])
    few, _ = config_of(manifest_of(108, 108), Begun(Path("runs/a"), own, False))
    assert few.train.freeze == ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    assert few.train.cache_features and few.train.rate_multipliers == {"fc8": 10}
    assert few.train.init_from == Path("runs/a")
    assert (few.augment.mean, few.augment.mirror) == ("per-offset", False)
    some, _ = config_of(manifest_of(2000, 2000), Begun(Path("runs/a"), own, True))
    assert some.train.freeze == ("conv1", "conv2", "conv3", "conv4", "conv5")
    assert some.train.rate_multipliers is None
    many, _ = config_of(manifest_of(20_000, 20_000), Begun(Path("runs/a"), own, True))
    assert many.train.freeze is None and not many.train.cache_features


def test_from_scratch_it_warns_of_few_pictures_and_weighs_uneven_ones() -> None:
    config, text = config_of(manifest_of(100, 10))
    assert "rarely suffice to train 2012-code from scratch" in " ".join(text.replace("#", "").split())
    assert config.train.class_weights == "balanced"
    config, text = config_of(manifest_of(3000, 3000))
    assert "rarely" not in text and config.train.class_weights == "none"


def test_pictures_of_other_sizes() -> None:
    config, _ = config_of(manifest_of(900, 900, size=28, channels=1))
    assert (config.model.preset, config.data.batch_size) == ("lenet5", 32)
    with pytest.raises(UserError, match=r"holds color pictures of 64x64 pixels, model.preset=2012-code takes"):
        config_of(manifest_of(9, 9, size=64))


def test_the_command(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_config.main([str(tiny_data)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("warning: 24 training pictures rarely suffice")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(dump_config(parse_config("", "run", ["model.preset=paper"])))
    (run / "classes.json").write_text(Classes.of(load_manifest(tiny_data)).model_dump_json())
    out = tmp_path / "own.yaml"
    assert new_config.main([str(tiny_data), "--from", str(run), "--out", str(out)]) == 0
    assert "rarely" not in capsys.readouterr().err
    config = load_config(out)
    assert (config.model.preset, config.data.dir, config.train.init_from) == ("paper", tiny_data, run)
    assert config.train.rate_multipliers is None  # the classes are the same
    before = out.read_bytes()
    with pytest.raises(UserError, match="exists and stays as it is"):
        new_config.main([str(tiny_data), "--out", str(out)])
    assert out.read_bytes() == before
    (run / "classes.json").write_text(json.dumps({"keys": []}))
    for wrong, line in (
        ([str(tmp_path)], "is no finished conversion"),
        ([str(tiny_data), "--from", str(tmp_path / "ruin")], r"--from .*ruin is no run: it does not exist"),
        ([str(tiny_data), "--from", str(run)], r"classes\.json is broken"),
    ):
        with pytest.raises(UserError, match=line):
            new_config.main(wrong)
