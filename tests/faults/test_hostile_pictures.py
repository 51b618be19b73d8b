"""Picture files that would hold a decoder for long: refused by converter, exported graph and predict, at once."""

import functools
import itertools
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.serving.picture_files import read_files
from tests.faults import hostile_pictures as made
from tfrecords import picture_limits as limits
from tfrecords.jpeg_structure import RARE_JPEG
from tfrecords.pictures import UnreadablePicture, load_picture

READ = functools.partial(read_files, stored_shape=(256, 256, 3))


def graph_status(file: bytes) -> str:
    return READ(tf.constant([file]))[1].numpy()[0].decode()


def converter_status(file: bytes) -> str:
    try:
        load_picture(file, 256)
    except UnreadablePicture as fault:
        return str(fault)
    return "ok"


def timed(side: Callable[[bytes], str], file: bytes) -> tuple[str, float]:
    """What a side says of a file, and after how many seconds of processor time: others may be at work here, too."""
    start = time.process_time()
    found = side(file)
    return found, time.process_time() - start


@pytest.fixture(scope="module")
def ordinary() -> dict[Callable[[bytes], str], float]:
    """Seconds that a sound file of as many pixels takes either side, the shorter of two times."""
    file = made.encoded(made.solid(), "JPEG")
    graph_status(file)
    return {side: min(timed(side, file)[1] for _ in range(2)) for side in (graph_status, converter_status)}


HOSTILE = {
    "882 scans": (lambda: made.many_scans(882), limits.MUCH_SCANNED),
    "20,000 scans": (lambda: made.many_scans(20_000), limits.MUCH_SCANNED),
    "20,000 scans of a small picture": (lambda: made.many_scans(20_000, 64), limits.MANY_SCANS),
    "scans behind filling and garbage": (
        lambda: made.many_scans(882, between=b"\x12\x34\xff\xff\xff"),
        limits.MUCH_SCANNED,
    ),
    "scans behind stuffed bytes": (lambda: made.many_scans(882, between=b"\xff\0\xff\0"), limits.MUCH_SCANNED),
    "scans behind restart markers": (lambda: made.many_scans(882, between=b"\xff\xd3"), limits.MUCH_SCANNED),
    "scans behind comments": (
        lambda: made.many_scans(300, between=made.segment(0xFE, b"\xff\xd9")),
        limits.MUCH_SCANNED,
    ),
    "a million comments": (
        lambda: made.with_segments(made.encoded(made.photograph(), "JPEG"), made.segment(0xFE, b"") * 1_000_000),
        limits.MANY_SEGMENTS,
    ),
    "arithmetic coding": (lambda: made.other_frame(0xC9), RARE_JPEG + "arithmetic coding"),
    "progressive arithmetic coding": (lambda: made.other_frame(0xCA), RARE_JPEG + "arithmetic coding"),
    "lossless": (lambda: made.other_frame(0xC3), RARE_JPEG + "lossless"),
    "hierarchical": (lambda: made.other_frame(0xC5), RARE_JPEG + "hierarchical"),
    "12 bits": (lambda: made.other_frame(0xC1, 12), RARE_JPEG + "12 bits a sample"),
    "PNG data without end": (lambda: made.swollen_png(16, 16, 150), limits.MUCH_PNG_DATA),
    "PNG data beyond 640x480": (lambda: made.swollen_png(640, 480, 200), limits.MUCH_PNG_DATA),
    "a million PNG chunks": (
        lambda: made.png(16, 16, zlib.compress(made.rows(16, 16)), made.chunk(b"tEXt", b"") * 1_000_000),
        limits.MANY_CHUNKS,
    ),
    "PNG data byte by byte": (
        lambda: made.png(300, 300, zlib.compress(np.random.default_rng(0).bytes(270_300)), pieces=1),
        limits.MANY_CHUNKS,
    ),
    "a GIF comment of changing blocks": (lambda: made.gif_with_comment(b"\1x\2xx" * 3_000_000), limits.MANY_BLOCKS),
    "a GIF comment of single bytes": (lambda: made.gif_with_comment(b"\1x" * 12_000_000), limits.MANY_BLOCKS),
    "GIF extensions": (
        lambda: made.gif_with_comment(b"\0" + b"\x21\xfe\0" * 1_000_000 + b"\x21\xfe"),
        limits.MANY_BLOCKS,
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_at_once(what: str, ordinary: dict[Callable[[bytes], str], float]) -> None:
    make, reason = HOSTILE[what]
    file = make()
    for side in (graph_status, converter_status):
        found, took = timed(side, file)
        assert found == reason
        took = min(took, timed(side, file)[1])  # what else a busy processor does may disturb either
        assert took < 3 * ordinary[side], f"{took:.2f} s, an ordinary file {ordinary[side]:.2f} s"


def test_neighbors_of_a_hostile_file_are_answered() -> None:
    good = made.encoded(made.photograph(), "JPEG")
    pictures, status = READ(tf.constant([good, made.many_scans(882), good]))
    assert status.numpy().tolist() == [b"ok", limits.MUCH_SCANNED.encode(), b"ok"]
    np.testing.assert_array_equal(pictures[0], pictures[2])
    assert not pictures[1].numpy().any()


THUMBNAIL = made.many_scans(110, 64)
SOUND = {
    "progressive": made.encoded(made.photograph(), "JPEG", progressive=True),
    "progressive CMYK": made.encoded(made.photograph(mode="CMYK"), "JPEG", progressive=True),
    "progressive, 24 megapixels": made.encoded(made.photograph(6000, 4000), "JPEG", progressive=True),
    "thumbnail with scans of its own": made.with_segments(
        made.encoded(made.photograph(), "JPEG"), made.segment(0xE1, b"Exif\0\0" + THUMBNAIL)
    ),
    "markers in comments": made.with_segments(
        made.encoded(made.photograph(), "JPEG"), *[made.segment(0xFE, b"\xff\xda\xff\xc9\xff\xd9" * 5000)] * 20
    ),
    "a profile in many segments": made.with_segments(
        made.encoded(made.photograph(), "JPEG"), *[made.segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000))] * 100
    ),
    "filling before markers": made.encoded(made.photograph(), "JPEG").replace(b"\xff\xc4", b"\xff\xff\xff\xc4"),
    "garbage between markers": made.encoded(made.photograph(), "JPEG").replace(b"\xff\xc4", b"\x12\x34\xff\0\xff\xc4"),
    "restart markers": made.encoded(made.photograph(3000, 2000), "JPEG", restart_marker_blocks=1),
    "a second picture behind the end": made.encoded(made.photograph(), "JPEG") + made.many_scans(2000, 64),
    "PNG in pieces of a KiB": made.png(
        300, 300, zlib.compress(b"".join(b"\0" + np.random.default_rng(i).bytes(900) for i in range(300))), pieces=1024
    ),
    "PNG with texts of 8 MB": made.png(
        64, 48, zlib.compress(made.rows(64, 48)), made.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_900_000))) * 100
    ),
    "PNG with a damaged text": made.png(
        64, 48, zlib.compress(made.rows(64, 48)), made.chunk(b"tEXt", b"k\0v")[:-1] + b"?"
    ),
    "PNG of one color, 25 megapixels": made.encoded(made.solid("RGB", 5000), "PNG"),
    "GIF with a long comment": made.gif_with_comment((b"\xff" + bytes(255)) * 20_000),
}  # fmt: skip


@pytest.mark.parametrize("what", SOUND)
def test_sound_files_that_look_alike_are_read(what: str, ordinary: dict[Callable[[bytes], str], float]) -> None:
    for side in (graph_status, converter_status):
        found, took = timed(side, SOUND[what])
        assert found == "ok" and took < 10 * ordinary[side]


def test_the_most_that_is_taken_is_bounded(ordinary: dict[Callable[[bytes], str], float]) -> None:
    """Just below the limit of scans times pixels: 20 passes, and some more for the file to be held in memory."""
    file = made.many_scans(limits.MAX_SCANNED // made.SIDE**2 - 6)
    for side in (graph_status, converter_status):
        found, took = timed(side, file)
        assert found == "ok" and took < 40 * ordinary[side]


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_real_photographs_pass(real_data: Path, every: int) -> None:
    archive = real_data / "imagenet_samples500.tar"
    if not archive.is_file():
        pytest.skip(f"NO REAL PICTURES: {archive} does not exist")
    with tarfile.open(archive) as files:
        names = [member for member in files if member.isfile() and member.name.lower().endswith(("jpg", "jpeg"))]
        pictures = [files.extractfile(member).read() for member in itertools.islice(names, 0, None, every)]
    assert len(pictures) >= 500 // every
    for start in range(0, len(pictures), 50):
        assert set(READ(tf.constant(pictures[start : start + 50]))[1].numpy()) == {b"ok"}
    assert {converter_status(picture) for picture in pictures} == {"ok"}
