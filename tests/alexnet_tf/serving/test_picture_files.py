"""Picture files of every kind against Pillow; damaged, huge and tricky ones are told from their header."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.serving.gif_structure import first_frame
from alexnet_tf.serving.picture_files import MAX_PIXELS, read_files
from tests.alexnet_tf.serving.pictures import encoded, smooth
from tfrecords.picture_kinds import DAMAGED
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES
from tfrecords.pictures import UnreadablePicture, load_picture

READ = functools.partial(read_files, stored_shape=(256, 256, 3))


def status_of(file: bytes) -> str:
    picture, status = READ(tf.constant([file]))
    if status[0] != b"ok":
        assert not picture.numpy().any()
    return status.numpy()[0].decode()


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(encoded(smooth("RGB"), "JPEG", quality=95), id="JPEG"),
        pytest.param(encoded(smooth("RGB"), "JPEG", quality=95, progressive=True), id="progressive JPEG"),
        pytest.param(encoded(smooth("L"), "JPEG", quality=95), id="gray JPEG"),
        pytest.param(encoded(smooth("RGB"), "PNG"), id="PNG"),
        pytest.param(encoded(smooth("RGB").quantize(64), "PNG"), id="palette PNG"),
        pytest.param(encoded(Image.fromarray(np.asarray(smooth("L")).astype(np.uint16) * 257), "PNG"), id="16-bit PNG"),
        pytest.param(encoded(smooth("RGB").quantize(64), "GIF"), id="GIF"),
        pytest.param(encoded(smooth("RGB").quantize(64), "GIF", comment=b"x" * 700), id="GIF with a long comment"),
    ],
)
def test_files_of_any_kind_look_as_to_the_converter(file: bytes) -> None:
    assert_as_the_converter(file)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (500, 375), (333, 500), (64, 64), (257, 256), (90, 700)])
@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
def test_files_of_any_size_look_as_to_the_converter(width: int, height: int, kind: str, mode: str) -> None:
    assert_as_the_converter(encoded(smooth(mode, (height, width)), kind, **({"quality": 95} if kind == "JPEG" else {})))


def assert_as_the_converter(file: bytes) -> None:
    picture, status = READ(tf.constant([file]))
    assert status.numpy().tolist() == [b"ok"]
    difference = np.abs(picture[0].numpy() - load_picture(file, 256).astype(np.float32))
    assert difference.max() <= 1 and difference.mean() < 0.01
    assert picture.numpy().std() > 20


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [smooth("RGB").rotate(angle).quantize(64) for angle in (0, 90, 180)]
    single = encoded(frames[0], "GIF")
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0)
    pictures, status = READ(tf.constant([single, animated]))
    assert set(status.numpy()) == {b"ok"}
    np.testing.assert_array_equal(pictures[0], pictures[1])
    cut, height, width, status = first_frame(tf.constant(animated))
    assert (height, width, status) == (300, 400, b"ok") and len(cut.numpy()) < len(animated) / 2
    with Image.open(io.BytesIO(cut.numpy())) as found:
        assert found.n_frames == 1


@pytest.mark.parametrize("version", ["transparent", "smaller than the screen", "interlaced", "palette of its own"])
def test_gif_frames_are_the_same_pixels_as_to_the_converter(version: str) -> None:
    """What lies around the frame and behind transparent pixels is the viewer's; the frame's own colors count."""
    picture = smooth("RGB", (64, 80)).quantize(64)
    file = encoded(picture, "GIF", **({"transparency": 5} if version == "transparent" else {}))
    place = file.index(b"\x2c\0\0\0\0")
    if version == "smaller than the screen":
        file = (
            file[:6]
            + struct.pack("<HH", 300, 200)
            + file[10 : place + 1]
            + struct.pack("<HH", 40, 30)
            + file[place + 5 :]
        )
    elif version == "interlaced":
        file = encoded(picture, "GIF", interlace=1)
    elif version == "palette of its own":
        table = 3 << (file[10] % 8 + 1)
        palette, flags = file[13 : 13 + table], bytes([file[place + 9] | 128 | file[10] % 8])
        file = file[:10] + b"\0" + file[11:13] + file[13 + table : place + 9] + flags + palette + file[place + 10 :]
    found, status = READ(tf.constant([file]))
    assert status.numpy().tolist() == [b"ok"]
    expected = picture.convert("RGB").resize((320, 256), Image.Resampling.BICUBIC).crop((32, 0, 288, 256))
    assert np.abs(found[0].numpy() - np.asarray(expected)).max() <= 3
    assert np.abs(found[0].numpy() - load_picture(file, 256)).max() <= 1


def test_a_gif_without_a_palette_is_refused_by_both() -> None:
    file = encoded(smooth("L", (64, 80)), "GIF")
    bare = file[:10] + b"\0" + file[11:13] + file[file.index(b"\x2c\0\0\0\0") :]
    assert status_of(bare) == "damaged: a GIF file without a palette"
    with pytest.raises(UnreadablePicture, match="damaged: a GIF file without a palette"):
        load_picture(bare, 256)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file whose header is in order and whose pixels are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_claiming(width: int, height: int) -> bytes:
    file = encoded(Image.new("RGB", (16, 16)), "JPEG")
    frame = file.index(b"\xff\xc0") + 5
    return file[:frame] + struct.pack(">HH", height, width) + file[frame + 4 :]


def gif_claiming(width: int, height: int) -> bytes:
    """Its screen is small, as the header says; the image in it claims otherwise."""
    file = encoded(Image.new("P", (16, 16)), "GIF")
    image = file.index(b"\x2c\0\0\0\0") + 5
    return file[:image] + struct.pack("<HH", width, height) + file[image + 4 :]


@pytest.mark.parametrize("claiming", [png_claiming, jpeg_claiming, gif_claiming])
def test_sizes_are_judged_by_the_header(claiming) -> None:
    assert status_of(claiming(9500, 9500)) == f"too large: 9500x9500 pixels, at most {MAX_PIXELS} in all"
    assert status_of(claiming(65000, 65000)).startswith("too large: 65000x65000")
    assert status_of(claiming(10, 1001)) == "too thin: 10x1001 pixels, at most 100 times as long as wide"
    # Allowed, but the pixels are not there: of a JPEG file whose end is marked, libjpeg fills in the rest.
    assert status_of(claiming(8000, 6000)) == ("ok" if claiming is jpeg_claiming else DAMAGED)


def test_png_sizes_beyond_31_bits() -> None:
    assert status_of(png_claiming(2**31 - 1, 2**31 - 1)).startswith("too large: 2147483647x2147483647")
    assert status_of(png_claiming(2**31 + 5, 10)).startswith("too large: 2147483653x10")
    assert status_of(png_claiming(0, 10)).startswith("no picture: 0x10")


def test_a_file_beyond_what_the_converter_reads() -> None:
    assert status_of(encoded(smooth("RGB"), "JPEG") + bytes(MAX_FILE_BYTES)) == LARGE_FILE


GOOD = {
    "JPEG": encoded(smooth("RGB"), "JPEG"),
    "PNG": encoded(smooth("RGB"), "PNG"),
    "GIF": encoded(smooth("RGB").quantize(64), "GIF"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_files_cut_anywhere_are_told(kind: str) -> None:
    file = GOOD[kind]
    cuts = sorted({*range(1, 40), *np.linspace(40, len(file) - 40, 60).astype(int)})
    pictures, statuses = READ(tf.constant([file[:cut] for cut in cuts] + [file]))
    *cut_ones, whole = statuses.numpy()
    assert whole == b"ok"
    reasons = {status.split(b":")[0] for status in cut_ones}
    assert reasons <= {b"damaged", b"no JPEG, PNG or GIF file"} and b"damaged" in reasons
    assert not pictures.numpy()[:-1].any()


def test_flipped_bits_never_fail_the_batch() -> None:
    draw = np.random.default_rng(0)
    files = []
    for file in list(GOOD.values()) * 20:
        broken = np.frombuffer(file, np.uint8).copy()
        broken[draw.integers(0, len(broken), 5)] = draw.integers(0, 256, 5)
        files.append(broken.tobytes())
    pictures, statuses = READ(tf.constant([*files, GOOD["PNG"]]))
    assert statuses.numpy()[-1] == b"ok" and np.isfinite(pictures.numpy()).all()


def test_other_kinds_are_told() -> None:
    assert status_of(b"") == "empty file"
    assert status_of(b"<html>404 not found</html>") == "no JPEG, PNG or GIF file"
    assert status_of(encoded(smooth("RGB"), "BMP")) == "no JPEG, PNG or GIF file but BMP: save it as one of these"
    assert status_of(encoded(smooth("RGB"), "WEBP")) == "no JPEG, PNG or GIF file but WebP: save it as one of these"
