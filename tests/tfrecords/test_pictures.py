"""Decoding, resizing and cropping against NumPy, and pictures of odd kinds."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.pictures.resizing import picture_from_file
from tests.picture_zoo.jpeg_files import mpo
from tests.picture_zoo.png_files import png
from tests.tfrecords.made_pictures import noise as made_noise
from tests.tfrecords.odd_pictures import (
    cmyk_jpeg,
    file_bytes,
    odd_pictures,
    oddly_sampled_jpeg,
    smooth,
    unmarked_cmyk_jpeg,
    ycck_jpeg,
)
from tfrecords import pictures, png_structure
from tfrecords.pictures import UnreadablePicture, encode_picture, load_picture, load_square


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bicubic_weights(length: int, target: int) -> np.ndarray:
    """(target, length): Keys' cubic with a = -1/2, widened when shrinking against aliasing."""
    scale = length / target
    center = (np.arange(target) + 0.5) * scale
    x = np.abs(np.arange(length) + 0.5 - center[:, None]) / max(scale, 1.0)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def expected_square(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width, _ = pixels.shape
    short = min(height, width)
    tall, wide = round(height * size / short), round(width * size / short)
    down = np.einsum("oh,hwc->owc", bicubic_weights(height, tall), pixels.astype(np.float64))
    down = np.clip(np.round(down), 0, 255)
    both = np.einsum("ow,hwc->hoc", bicubic_weights(width, wide), down)
    top, left = (tall - size) // 2, (wide - size) // 2
    return np.clip(both, 0, 255)[top : top + size, left : left + size]


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (333, 251), (251, 333), (700, 300), (257, 256), (40, 31), (1, 1)],
)
def test_resize_and_crop_against_numpy(width: int, height: int) -> None:
    pixels = noise(width, height)
    found = load_picture(file_bytes(Image.fromarray(pixels)), 256)
    assert found.dtype == np.uint8
    assert found.shape == (256, 256, 3)
    off = np.abs(found - expected_square(pixels, 256))
    # Rounding alone is 0.25 on average; a tie rounded the other way before the second pass, whose
    # weights reach 1.1, adds up to 1.6. A crop or a scale off by one is off by dozens.
    assert off.mean() < 0.27
    assert off.max() <= 1.7


def test_picture_of_the_right_size_is_untouched() -> None:
    pixels = noise(256, 256)
    assert np.array_equal(load_picture(file_bytes(Image.fromarray(pixels)), 256), pixels)


def test_every_size_of_pictures_and_squares_fits() -> None:
    """Shares of a side that binary fractions cannot tell must not lead out of the picture."""
    for size in (28, 100, 299):
        for width in range(1, 120):
            file = file_bytes(Image.new("RGB", (width, 2 * width + 1), (9, 9, 9)))
            assert (load_picture(file, size) == 9).all()


def test_crop_is_central() -> None:
    pixels = noise(300, 256)
    found = load_picture(file_bytes(Image.fromarray(pixels)), 256)
    assert np.array_equal(found, pixels[:, 22 : 22 + 256])


SHAPE = (256, 256, 3)
SQUARE = noise(32, 32)
GRAY = SQUARE[:, :, 0]
HALF = np.full((32, 32), 128, np.uint8)


def test_gray_alpha_and_palette_pictures() -> None:
    as_rgb = np.repeat(GRAY[:, :, None], 3, axis=2)
    assert np.array_equal(load_picture(file_bytes(Image.fromarray(GRAY)), 32), as_rgb)
    gray_alpha = Image.merge("LA", (Image.fromarray(GRAY), Image.fromarray(HALF)))
    assert np.array_equal(load_picture(file_bytes(gray_alpha), 32), as_rgb)
    color_alpha = Image.fromarray(np.dstack([SQUARE, HALF]))
    assert np.array_equal(load_picture(file_bytes(color_alpha), 32), SQUARE)
    palette = Image.fromarray(GRAY // 64, mode=None).convert("L")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 200, 210, 220])
    colors = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [200, 210, 220]], np.uint8)
    data = file_bytes(palette, transparency=1)
    assert np.array_equal(load_picture(data, 32), colors[GRAY // 64])
    bits = Image.fromarray(GRAY > 127)
    assert np.array_equal(load_picture(file_bytes(bits), 32), (as_rgb > 127) * np.uint8(255))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_keeps_the_high_byte(kind: str) -> None:
    samples = np.random.default_rng(3).integers(0, 65536, (32, 32), dtype=np.uint16)
    found = load_picture(file_bytes(Image.fromarray(samples), kind), 32)
    assert np.array_equal(found[:, :, 0], samples // 256)
    assert np.array_equal(found[:, :, 2], samples // 256)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_that_would_become_one_gray_is_refused_and_any_other_is_told(kind: str) -> None:
    wide = np.random.default_rng(3).integers(0, 65536, (32, 32), dtype=np.uint16)
    repairs: list[str] = []
    load_square(file_bytes(Image.fromarray(wide), kind), 32, repairs)
    assert "16-bit samples to 8 bits" in repairs
    with pytest.raises(UnreadablePicture, match="16-bit samples that all become one color of 8 bits: scale them"):
        load_picture(file_bytes(Image.fromarray(96 + wide % 14), kind), 32)


def test_16_bit_colors_are_told_in_every_format() -> None:
    """Pillow cuts these without a word, and writes none of them."""
    wide = np.random.default_rng(3).integers(0, 65536, (32, 32, 3), dtype=np.uint16)
    for file in (deep_tiff(wide), b"P6 32 32 65535\n" + wide.astype(">u2").tobytes(), png(2, 16)):
        repairs: list[str] = []
        load_square(file, 32, repairs)
        assert repairs == ["16-bit samples to 8 bits"]
    for file in (deep_tiff(wide % 200), b"P6 32 32 65535\n" + (wide % 100).astype(">u2").tobytes()):
        with pytest.raises(UnreadablePicture, match="16-bit samples that all become one color"):
            load_picture(file, 32)


def deep_tiff(pixels: np.ndarray) -> bytes:
    """RGB of 16 bits, in one uncompressed strip."""
    height, width, _ = pixels.shape
    start = 8 + 2 + 9 * 12 + 4
    fields = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, start + 6), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *field) for field in fields)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + directory + bytes(4) + b"\x10\0" * 3 + pixels.tobytes()


def test_a_gif_cut_anywhere_is_told() -> None:
    whole = file_bytes(Image.fromarray(SQUARE).quantize(16), "GIF")
    for cut in range(6, len(whole) - 1):
        with pytest.raises(UnreadablePicture, match="ends before its first frame does"):
            load_picture(whole[:cut], 32)


@pytest.mark.parametrize("make", [cmyk_jpeg, unmarked_cmyk_jpeg, ycck_jpeg])
def test_cmyk_and_ycck_jpeg(make: Callable[[np.ndarray], bytes]) -> None:
    """Against the colors that were put in, and against TensorFlow's decoder."""
    pixels = smooth(40, 40)
    data = make(pixels)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "CMYK"
    found = load_picture(data, 40).astype(int)
    assert np.abs(found - pixels).max() <= 4
    other = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    assert np.abs(found - other).max() <= 2


def test_both_ways_of_plain_jpeg_give_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, subsampling in (("RGB", 0), ("RGB", 2), ("L", -1)):
        data = file_bytes(Image.fromarray(made_noise(5, 341, 222)).convert(mode), "JPEG", subsampling=subsampling)
        short = load_picture(data, 64)
        monkeypatch.setattr(pictures, "SHORT_WAY_PIXELS", 0)
        assert np.array_equal(load_picture(data, 64), short)
        monkeypatch.undo()


def test_repairs_are_told() -> None:
    for what, data in odd_pictures().items():
        repairs: list[str] = []
        load_square(data, 32, repairs, "x.JPEG")
        assert what in repairs
    repairs = []
    load_square(JPEG, 32, repairs, "photograph.jpg")
    load_square(PNG, 32, repairs, "photograph")
    assert repairs == []


def test_an_odd_subsampling_is_no_damage() -> None:
    repairs: list[str] = []
    assert set(np.asarray(load_square(oddly_sampled_jpeg(), 32, repairs)).ravel()) == {128}
    assert repairs == []
    assert set(picture_from_file(oddly_sampled_jpeg(), SHAPE).numpy().ravel()) == {128}


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    data = file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(load_picture(data, 32)[5, 5], [255, 0, 0])


def test_a_second_picture_of_a_phone_is_no_animation() -> None:
    repairs: list[str] = []
    load_square(mpo(), 32, repairs, "IMG_0001.JPG")
    assert repairs == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_not_applied(orientation: int) -> None:
    """Neither in conversion nor in what evaluation and serving prepare; the converter tells it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = file_bytes(Image.fromarray(SQUARE), "JPEG")
    turned = file_bytes(Image.fromarray(SQUARE), "JPEG", exif=exif)
    assert np.array_equal(load_picture(plain, 32), load_picture(turned, 32))
    assert np.array_equal(picture_from_file(plain, SHAPE), picture_from_file(turned, SHAPE))
    repairs: list[str] = []
    load_square(turned, 32, repairs)
    assert repairs == [f"EXIF orientation {orientation} not applied"] * (orientation > 1)


def huge_png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


PHOTOGRAPH = Image.fromarray(noise(400, 300))
JPEG, PNG, BMP = (file_bytes(PHOTOGRAPH, kind) for kind in ("JPEG", "PNG", "BMP"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a picture at all\n" * 40, "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG or GIF file but PostScript"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:-200], "truncated"),
        (JPEG[:30], "damaged"),
        (PNG[: len(PNG) // 2], "truncated"),
        (huge_png_header(9500, 9500), "too large: 9500x9500 pixels, at most 89478485 in all"),
        (huge_png_header(60000, 60000), "too large: 60000x60000 pixels"),
        (huge_png_header(1, 100_000), "too thin: 1x100000 pixels, at most 100 times as long as wide"),
        (BMP[:18] + struct.pack("<ii", 60000, 60000) + BMP[26:], "too large: more than 178956970 pixels"),
        (BMP[:18] + struct.pack("<ii", 1, 101) + BMP[26:], "too thin: 1x101 pixels"),
    ],
)
def test_unreadable(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadablePicture, match=reason) as fault:
        load_picture(data, 256)
    assert "\n" not in str(fault.value)


def changed(file: bytes, at: int, value: bytes) -> bytes:
    at %= len(file)
    return file[:at] + value + file[at + len(value) :]


TIFF = file_bytes(PHOTOGRAPH, "TIFF", compression="tiff_lzw")
WEBP, PPM = file_bytes(PHOTOGRAPH, "WEBP"), file_bytes(PHOTOGRAPH, "PPM")
TOO_SHORT, NO_SENSE = "the file ends before its pixels do", "the data of the {} file make no sense"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        pytest.param(changed(TIFF, len(TIFF) // 2, b"\xff" * 500), NO_SENSE.format("TIFF"), id="TIFF, pixels"),
        pytest.param(changed(TIFF, 4, b"\xff\xff\xff\x7f"), "the header of the TIFF file", id="TIFF, directory"),
        pytest.param(changed(BMP, 30, b"\5"), "the header of the BMP file", id="BMP, compression"),
        pytest.param(BMP[:-900], TOO_SHORT, id="BMP, cut"),
        pytest.param(changed(WEBP, -900, bytes(900)), None, id="WebP, pixels"),
        pytest.param(WEBP[:200], NO_SENSE.format("WebP"), id="WebP, cut"),
        pytest.param(changed(PPM, 3, b"\xb7"), NO_SENSE.format("PPM"), id="PPM, width"),
        pytest.param(changed(PPM, 3, b"9" * 40), NO_SENSE.format("PPM"), id="PPM, long width"),
        pytest.param(PPM[:-900], TOO_SHORT, id="PPM, cut"),
        pytest.param(b"P3 4 4 255 1 2 3", TOO_SHORT, id="PPM in digits, cut"),
    ],
)
def test_reasons_are_in_plain_words(file: bytes, reason: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    """Not in Pillow's, which are for programmers; and libtiff writes nothing past Python."""
    try:
        load_picture(file, 256)
    except UnreadablePicture as fault:
        assert reason is not None and reason in str(fault)
    else:
        assert reason is None
    assert capfd.readouterr().err == ""


def test_encodings() -> None:
    pixels = noise(32, 32)
    raw = encode_picture(Image.fromarray(pixels), "raw", None)
    assert np.array_equal(np.frombuffer(raw, np.uint8).reshape(32, 32, 3), pixels)
    with Image.open(io.BytesIO(encode_picture(Image.fromarray(pixels), "jpeg", 95))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (32, 32))
        # Component 1 twice as fine as 2 and 3 in both directions: 4:2:0.
        assert [layer[1:3] for layer in picture.layer] == [(2, 2), (1, 1), (1, 1)]
        # Quality 95 divides the standard's first luminance step, 16, by ten.
        assert picture.quantization[0][0] == 2


def test_long_data_of_a_png_file_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What zlib leaves of its input is copied for the next step: of one long chunk that was quadratic."""
    raw = np.random.default_rng(0).integers(0, 256, 5_000_000, np.uint8).tobytes()
    compressed, fed, decompressobj = zlib.compress(raw, 0), [], zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self.stream = decompressobj(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            fed.append(len(data))
            return self.stream.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    header = png_structure._PngHeader(4999, 1000, 8, 0, 0, 0, 0)  # as many bytes, with that of each line's filter
    assert png_structure._inflate([memoryview(compressed)], header, None, len(compressed)) == (len(raw), True)
    assert sum(fed) < 1.5 * len(compressed)
