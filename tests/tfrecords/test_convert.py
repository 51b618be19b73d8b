"""The whole conversion: bytes, order, statistics, TFDS, faults and exit statuses."""

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from alexnet_tf.program.errors import UserError
from tests.tfrecords.made_pictures import CLASSES, SETTINGS, SIZE, noise, write_pictures
from tfrecords.command_line import parse_arguments
from tfrecords.convert import convert, main
from tfrecords.exif import EXIF, exif_with
from tfrecords.folder_source import FolderItem, FolderSource
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.pictures import load_picture
from tfrecords.plan import Settings, plan_shards
from tfrecords.record_parsing import parse_example
from tfrecords.sources import shuffled
from tfrecords.statistics import Statistics

ROOT = Path(__file__).parents[2]


def source_of(root: Path) -> FolderSource:
    return FolderSource(root / "train", root / "val")


def records(data: Path, split: str) -> list[dict]:
    paths = [str(path) for path in shard_paths(data, load_manifest(data), split)]
    parsed = tf.data.TFRecordDataset(paths).map(parse_example)
    return list(parsed.as_numpy_iterator())


def square(path: Path, size: int) -> np.ndarray:
    """The expected pixels, within rounding, by another library: Pillow, told to resize downward first."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB").transpose(Image.Transpose.TRANSPOSE)
        tall, wide = (round(side * size / min(picture.size)) for side in picture.size)
        resized = picture.resize((tall, wide), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized.transpose(Image.Transpose.TRANSPOSE))
    top, left = (tall - size) // 2, (wide - size) // 2
    return pixels[top : top + size, left : left + size]


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Weights are rounded differently: now and then a pixel is 1 off, rarely 2."""
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 2
    assert off.mean() < 0.05


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(*arguments: object, **options) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "tfrecords.convert", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=400, **options)


def test_every_picture_is_there_as_it_should_be(pictures: Path, converted: Path) -> None:
    for split, per_class in (("train", 14), ("val", 5)):
        found = records(converted, split)
        assert len(found) == 3 * per_class
        names = {(r["label"], r["file_name"].decode()) for r in found}
        assert len(names) == len(found)
        for record in found:
            key = CLASSES[record["label"]]
            path = pictures / split / key / record["file_name"].decode()
            pixels = load_picture(path.read_bytes(), SIZE)
            assert_close(pixels, square(path, SIZE))
            stored = io.BytesIO()
            Image.fromarray(pixels).save(stored, "JPEG", quality=95, subsampling=2)
            assert record["image"] == stored.getvalue()
            assert tf.io.decode_jpeg(record["image"]).shape == (SIZE, SIZE, 3)


def test_raw_records_hold_the_exact_pixels(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    convert(source_of(pictures), out, Settings(size=SIZE, encoding="raw"), workers=1)
    found = records(out, "train")
    assert len(found) == 42
    for record in found:
        pixels = np.frombuffer(record["image"], np.uint8).reshape(SIZE, SIZE, 3)
        path = pictures / "train" / CLASSES[record["label"]] / record["file_name"].decode()
        assert_close(pixels, square(path, SIZE))
    example = next(iter(tfds.builder_from_directory(out).as_dataset(split="train")))
    assert example["image"].numpy().tobytes() == found[0]["image"]
    assert load_manifest(out).quality is None


def test_same_bytes_with_any_number_of_workers(pictures: Path, converted: Path, tmp_path: Path) -> None:
    convert(source_of(pictures), tmp_path / "data", SETTINGS, workers=3)
    assert contents(tmp_path / "data") == contents(converted)


def test_statistics_against_numpy(pictures: Path, converted: Path) -> None:
    paths = sorted((pictures / "train").glob("*/*"))
    pixels = np.stack([load_picture(path.read_bytes(), SIZE) for path in paths]).astype(np.float64)
    found = Statistics.load(converted / "statistics.npz")
    np.testing.assert_allclose(found.mean_image, pixels.mean(axis=0), rtol=1e-14)
    flat = pixels.reshape(-1, 3)
    np.testing.assert_allclose(found.covariance, np.cov(flat.T, bias=True), rtol=1e-11)
    assert found.pixels == len(flat)


def test_tfds_opens_it(converted: Path) -> None:
    builder = tfds.builder_from_directory(converted)
    assert builder.info.features["label"].names == list(CLASSES)
    for split in ("train", "val"):
        ours = records(converted, split)
        theirs = list(builder.as_dataset(split=split, shuffle_files=False).as_numpy_iterator())
        assert builder.info.splits[split].num_examples == len(theirs) == len(ours)
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine["label"], mine["file_name"]) == (other["label"], other["file_name"])
            assert np.array_equal(tf.io.decode_jpeg(mine["image"]).numpy(), other["image"])


def test_every_shard_is_a_fair_sample() -> None:
    items = {
        "train": [FolderItem(label, f"{n}.jpg", "f") for label in range(4) for n in range(500)],
        "val": [FolderItem(label, f"{n}.jpg", "f") for label in range(4) for n in range(50)],
    }
    items["train"] = shuffled(items["train"], 0)
    tasks = plan_shards(items, Path("out"), 4, Settings(shards=9))
    training = [task for task in tasks if task.split == "train"]
    assert [task.file for task in training] == [f"train-{i:05d}-of-00009" for i in range(9)]
    assert {len(task.items) for task in training} == {222, 223}
    for task in training:
        counts = Counter(item.label for item in task.items)
        # 55.5 of each expected; a standard deviation is 6.1.
        assert all(35 <= counts[label] <= 76 for label in range(4))
    assert [task.file for task in tasks if task.split == "val"] == ["val-00000-of-00001"]


def test_default_number_of_shards_follows_the_size() -> None:
    def shards(pictures: int, encoding: str) -> int:
        items = {"train": [FolderItem(0, "x", "f")] * pictures, "val": [FolderItem(0, "x", "f")]}
        tasks = plan_shards(items, Path("out"), 1, Settings(encoding=encoding))
        return sum(task.split == "train" for task in tasks)

    assert shards(2, "jpeg") == 2
    assert shards(450, "jpeg") == 4
    assert shards(1_000, "jpeg") == 10
    assert shards(10_000, "jpeg") == 16
    assert shards(1_281_167, "jpeg") == 478  # of 64 MiB, where a picture takes 25 kB
    assert shards(1_281_167, "raw") == 3754


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder of pictures to spoil."""
    write_pictures(tmp_path / "few/train", ("ant", "bee"), 4, seed=0)
    write_pictures(tmp_path / "few/val", ("ant", "bee"), 2, seed=90)
    return tmp_path / "few"


def arguments(root: Path, out: Path, *more: object) -> list[str]:
    line = ["folder", "--train", root / "train", "--val", root / "val", "--out", out]
    return [str(part) for part in (*line, "--size", SIZE, "--workers", 1, *more)]


def test_unreadable_pictures_are_named_and_left_out(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (few / "train/ant/ant_1.jpg").read_bytes()
    (few / "train/ant/ant_1.jpg").write_bytes(whole[: len(whole) // 2])
    (few / "train/bee/notes.txt").write_text("no picture")
    (few / "val/bee/gone.jpg").symlink_to("nowhere")
    assert main(arguments(few, tmp_path / "out", "--max-unreadable", 3)) == 0
    told = capsys.readouterr()
    manifest = load_manifest(tmp_path / "out")
    left_out = [(entry.split, entry.file) for entry in manifest.unreadable]
    assert left_out == [
        ("train", "ant/ant_1.jpg"),
        ("train", "bee/notes.txt"),
        ("val", "bee/gone.jpg"),
    ]
    for _, file in left_out:
        assert file in told.err
    assert "left out as unreadable: 3" in told.out
    assert manifest.splits["train"].class_counts == [3, 4]
    found = {record["file_name"] for record in records(tmp_path / "out", "train")}
    assert len(found) == 7
    assert b"ant_1.jpg" not in found


def test_too_many_unreadable_pictures_fail(few: Path, tmp_path: Path) -> None:
    (few / "train/bee/notes.txt").write_text("no picture")
    (few / "train/bee/empty.png").touch()
    with pytest.raises(UserError, match=r"--max-unreadable 1 .*train/bee/") as fault:
        main(arguments(few, tmp_path / "out", "--max-unreadable", 1))
    assert "\n" not in str(fault.value)
    # A higher limit, or a mended picture, goes on from there.
    assert not list((tmp_path / "out").glob("manifest*"))
    Image.new("RGB", (30, 30), "navy").save(few / "train/bee/empty.png")
    assert main(arguments(few, tmp_path / "out", "--max-unreadable", 1)) == 0
    assert main(arguments(few, tmp_path / "fresh")) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_own_pictures_are_turned_unless_told_otherwise(few: Path, tmp_path: Path) -> None:
    turned = few / "train/ant/turned.jpg"
    Image.fromarray(noise(1, 30, 50)).save(turned, exif=EXIF + exif_with(6))
    stored = {}
    for name, options in (("by default", []), ("ignore", ["--exif=ignore"])):
        assert main(arguments(few, tmp_path / name, "--encoding=raw", *options)) == 0
        (stored[name],) = [
            one["image"] for one in records(tmp_path / name, "train") if one["file_name"] == b"turned.jpg"
        ]
    assert [load_manifest(tmp_path / name).exif for name in stored] == ["apply", "ignore"]
    file = turned.read_bytes()
    assert stored["by default"] == load_picture(file, SIZE, exif="apply").tobytes()
    assert stored["ignore"] == load_picture(file, SIZE).tobytes() != stored["by default"]
    original = ["--train-tar=a", "--val-tar=b", "--devkit=c", "--out=d"]
    assert parse_arguments(["ilsvrc2012", *original]).exif == "ignore"  # as in 2012
    assert parse_arguments(["folder", "--train=a", "--labels=b", "--out=c"]).exif == "apply"


def test_class_without_a_readable_picture_fails(few: Path, tmp_path: Path) -> None:
    for path in (few / "val/bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="class bee has no readable picture in val"):
        main(arguments(few, tmp_path / "out"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_too_many_shards_fail(few: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--shards 9 is more than the 8 training pictures"):
        main(arguments(few, tmp_path / "out", "--shards", 9))


def test_finished_and_foreign_folders_are_not_touched(few: Path, data: Path, tmp_path: Path) -> None:
    before = contents(data)
    with pytest.raises(UserError, match="holds a finished conversion"):
        main(arguments(few, data))
    assert contents(data) == before
    (data / "manifest.json").unlink()
    with pytest.raises(UserError, match="holds other files"):
        main(arguments(few, data))
    assert len(contents(data)) == len(before) - 1
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        main(arguments(few, tmp_path / "file" / "out"))


def test_command_tells_faults_in_one_line(few: Path, tmp_path: Path) -> None:
    (few / "val/bee").rename(few / "val/wasp")
    done = command(*arguments(few, tmp_path / "out"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "bee" in done.stderr
    wrong = command(*arguments(few, tmp_path / "out", "--quality", 101))
    assert wrong.returncode == 2
    assert "--quality: must be from 1 to 100" in wrong.stderr
