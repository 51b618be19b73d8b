"""The command on miniature archives of ILSVRC-2012, whole ones and damaged ones."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from alexnet_tf.program.errors import UserError
from tests.tfrecords.made_archives import VAL_IDS, WORDS, Archives, make_archives, tar_bytes
from tests.tfrecords.odd_pictures import odd_pictures, unreadable_pictures
from tfrecords import ilsvrc2012
from tfrecords.convert import main
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.pictures import UnreadablePicture, load_picture
from tfrecords.record_parsing import parse_example
from tfrecords.verify import main as verify

SIZE = 24


def run(archives: list[str], out: Path, *more: str) -> int:
    options = [f"--out={out}", f"--size={SIZE}", "--encoding=raw", "--shards=2", "--workers=1"]
    return main(["ilsvrc2012", *archives, *options, *more])


def records(data: Path, split: str) -> dict[str, tuple[int, bytes]]:
    paths = [str(path) for path in shard_paths(data, load_manifest(data), split)]
    parsed = tf.data.TFRecordDataset(paths).map(parse_example)
    return {r["file_name"].decode(): (int(r["label"]), r["image"]) for r in parsed.as_numpy_iterator()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_picture_gets_its_label(tmp_path: Path) -> None:
    archives = make_archives()
    options = archives.write(tmp_path / "archives")
    assert run(options, tmp_path / "out") == 0
    manifest = load_manifest(tmp_path / "out")
    assert manifest.source == "ilsvrc2012"
    assert manifest.class_keys == sorted(WORDS)
    assert manifest.class_names == [WORDS[wnid] for wnid in sorted(WORDS)]
    stored = {name: data for files in archives.train.values() for name, data in files.items()}
    train, val = records(tmp_path / "out", "train"), records(tmp_path / "out", "val")
    assert train.keys() == stored.keys()
    for name, (label, image) in train.items():
        assert label == sorted(WORDS).index(name[:9])
        assert image == load_picture(stored[name], SIZE).tobytes()
    # The ground truth counts as meta.mat does; labels go by the sorted WordNet ids.
    label_of_id = {3: 0, 1: 1, 2: 2}
    assert [val[name][0] for name in sorted(val)] == [label_of_id[one] for one in VAL_IDS]
    assert all(val[name][1] == load_picture(data, SIZE).tobytes() for name, data in archives.val.items())
    assert sorted(path.name for path in (tmp_path / "archives").iterdir()) == ["devkit.tar.gz", "train.tar", "val.tar"]
    assert verify([str(tmp_path / "out")]) == 0


def test_same_bytes_with_any_order_of_members(tmp_path: Path) -> None:
    archives = make_archives()
    assert run(archives.write(tmp_path / "a"), tmp_path / "out") == 0
    archives.train = {wnid: dict(reversed(files.items())) for wnid, files in reversed(archives.train.items())}
    archives.val = dict(reversed(archives.val.items()))
    assert run(archives.write(tmp_path / "b"), tmp_path / "other") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


def test_odd_pictures_are_repaired_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archives = make_archives(per_class=20)
    names = iter(archives.train["n01443537"])
    odd = {next(names): (what, data) for what, data in odd_pictures().items()}
    unreadable = {next(names): (word, data) for word, data in unreadable_pictures().items()}
    archives.train["n01443537"] |= {name: data for name, (_, data) in (odd | unreadable).items()}
    assert run(archives.write(tmp_path / "archives"), tmp_path / "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    repaired = {entry["file"]: entry["what"] for entry in report["repaired"]}
    assert repaired.keys() == odd.keys()
    for name, (what, _) in odd.items():
        assert what in repaired[name]
    assert report["repair_counts"]["CMYK to RGB"] == 1
    assert report["repair_counts"]["PNG file named .jpeg"] == 3
    left_out = {entry["file"]: entry["reason"] for entry in report["left_out"]}
    assert left_out.keys() == unreadable.keys()
    for name, (word, _) in unreadable.items():
        assert word in left_out[name]
    assert report["class_counts"]["train"] == {"n01440764": 20, "n01443537": 16, "n01484850": 20}
    assert records(tmp_path / "out", "train").keys() & odd.keys() == odd.keys()
    told = capsys.readouterr()
    assert "1 CMYK to RGB" in told.out
    assert "left out as unreadable: 4" in told.out
    assert all(name in told.err for name in unreadable)


def lose_class(archives: Archives) -> None:
    archives.claimed["n01484850"] = len(archives.train.pop("n01484850"))


def lose_picture(archives: Archives) -> None:
    archives.claimed["n01443537"] = 7


def lose_val_picture(archives: Archives) -> None:
    del archives.val["ILSVRC2012_val_00000004.JPEG"]


def strange_member(kind: bytes, name: str = "n01484850_99.JPEG") -> Callable[[Archives], None]:
    def add(archives: Archives) -> None:
        archives.strange = tarfile.TarInfo(name)
        archives.strange.type = kind
        archives.strange.linkname = "/etc/passwd"

    return add


def rename(old: str, new: str) -> Callable[[Archives], None]:
    def change(archives: Archives) -> None:
        for files in (archives.val, *archives.train.values()):
            if old in files:
                files[new] = files.pop(old)

    return change


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lose_class, r"train\.tar: 2 classes of 3; the first missing is n01484850 \(great white shark\)"),
        (lose_picture, r"train\.tar: 6 pictures in n01443537\.tar, the devkit says 7"),
        (lambda a: a.train.update(n09999999={}), r"train\.tar: unexpected n09999999\.tar"),
        (lose_val_picture, r"val\.tar: 5 pictures, the devkit has labels for 6; the first missing is number 4"),
        (lambda a: a.val_ids.pop(), r"val\.tar: unexpected ILSVRC2012_val_00000006\.JPEG"),
        (lambda a: a.val_ids.__setitem__(2, 4), r"devkit\.tar\.gz: \S+ground_truth\.txt holds 4"),
        (lambda a: a.val_ids.__setitem__(2, "x"), r"devkit\.tar\.gz: \S+ground_truth\.txt holds"),
        (strange_member(tarfile.SYMTYPE), r"train\.tar, n01484850\.tar: n01484850_99\.JPEG is no regular file"),
        (strange_member(tarfile.LNKTYPE), "no regular file"),
        (strange_member(tarfile.CHRTYPE), "no regular file"),
        (strange_member(tarfile.DIRTYPE), "no regular file"),
        (strange_member(tarfile.REGTYPE, "../../n01484850_99.JPEG"), r"unexpected \.\./\.\./n01484850_99\.JPEG"),
        (rename("n01443537_7.JPEG", "n01440764_7.JPEG"), r"unexpected n01440764_7\.JPEG in n01443537\.tar"),
        (rename("n01443537_7.JPEG", "n01443537_7.png\n"), r"unexpected n01443537_7\.png\\n in n01443537\.tar"),
        (rename("ILSVRC2012_val_00000002.JPEG", "/ILSVRC2012_val_00000002.JPEG"), r"val\.tar: unexpected /ILSVRC"),
    ],
)
def test_wrong_contents_are_named_before_anything_is_written(
    damage: Callable[[Archives], None], told: str, tmp_path: Path
) -> None:
    archives = make_archives()
    damage(archives)
    with pytest.raises(UserError, match=told) as fault:
        run(archives.write(tmp_path), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "out").exists()


def cut(path: Path, part: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: cut(f / "train.tar", 0.5), r"--train-tar \S+train\.tar.*truncated in n01443537\.tar"),
        (lambda f: cut(f / "train.tar", 0), r"--train-tar \S+train\.tar.*no whole tar archive"),
        (lambda f: cut(f / "val.tar", 0.5), r"--val-tar \S+val\.tar.*truncated"),
        (lambda f: cut(f / "devkit.tar.gz", 0.7), r"--devkit \S+devkit\.tar\.gz"),
        (lambda f: (f / "val.tar").write_text("<html>sign in first</html>"), r"--val-tar \S+ is no whole tar archive"),
        (lambda f: (f / "val.tar").unlink(), r"--val-tar \S+val\.tar cannot be read: No such file"),
        (lambda f: (f / "devkit.tar.gz").write_bytes(tar_bytes({"a": b""}, "gz")), r"has no data/meta\.mat"),
        (lambda f: (f / "train.tar").write_bytes((f / "val.tar").read_bytes()), r"train\.tar: unexpected ILSVRC2012"),
    ],
)
def test_damaged_archives_are_named(damage: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    options = make_archives().write(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=told) as fault:
        run(options, tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "out").exists()


def test_broken_meta_mat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Archives, "meta_mat", lambda self: b"MATLAB, but not really")
    with pytest.raises(UserError, match=r"devkit\.tar\.gz: data/meta\.mat cannot be read"):
        run(make_archives().write(tmp_path), tmp_path / "out")


def test_md5_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = make_archives().write(tmp_path)
    digests = {name: hashlib.md5((tmp_path / f"{name}.tar").read_bytes()).hexdigest() for name in ("train", "val")}
    digests["devkit"] = hashlib.md5((tmp_path / "devkit.tar.gz").read_bytes()).hexdigest()
    with pytest.raises(UserError, match=rf"devkit\.tar\.gz has MD5 {digests['devkit']}, the original fa75699e"):
        run(options, tmp_path / "out", "--check-md5")
    monkeypatch.setattr(ilsvrc2012, "MD5", digests)
    assert run(options, tmp_path / "out", "--check-md5") == 0


def test_archive_that_shrinks_meanwhile(tmp_path: Path) -> None:
    archives = make_archives()
    archives.write(tmp_path)
    source = ilsvrc2012.Ilsvrc2012Source(tmp_path / "train.tar", tmp_path / "val.tar", tmp_path / "devkit.tar.gz")
    last = source.items("train")[-1]
    assert last.read() == archives.train["n01484850"][last.file_name]
    cut(tmp_path / "train.tar", 0.2)
    with pytest.raises(UnreadablePicture, match=r"train\.tar ends in the middle"):
        last.read()
