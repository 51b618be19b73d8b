"""GIF files of every palette, interlacing, transparency and size of the first frame, and damaged ones."""

import struct

import numpy as np

from tests.picture_zoo.files import HEIGHT, SIZES, WIDTH, Files, cut, numbers

END = b"\x3b"


def gif_files() -> Files:
    """By kind and variant."""
    found: Files = {}
    for bits in (1, 2, 4, 8):
        kind = f"{2**bits} colors"
        for interlaced in (False, True):
            also = ", interlaced" * interlaced
            found[kind, "plain" + also] = gif(bits, interlaced=interlaced)
            found[kind, "transparency" + also] = gif(bits, interlaced=interlaced, before=control(transparent=1))
            found[kind, "palette of the frame" + also] = gif(bits, interlaced=interlaced, own=True)
    small = frame(8, width=30, height=20)
    second = control(delay=10) + frame(8, left=3, top=2, width=20, height=20)
    found |= {
        ("frames", "GIF87a"): gif(8, version=b"GIF87a"),
        ("frames", "smaller than the canvas"): screen(8) + small + END,
        ("frames", "smaller, somewhere on the canvas"): screen(8) + frame(8, left=9, top=7, width=30, height=20) + END,
        ("frames", "smaller and transparent"): screen(8) + control(transparent=7) + small + END,
        ("frames", "larger than the canvas"): screen(8, width=20, height=20) + frame(8) + END,
        ("frames", "beyond the canvas"): screen(8) + frame(8, left=30, top=30) + END,
        ("frames", "canvas of no size"): screen(8, width=0, height=0) + frame(8) + END,
        ("frames", "animation"): gif(8, before=control(delay=10), after=second),
        ("frames", "animation, transparent first frame"): gif(8, before=control(transparent=3, delay=10), after=second),
        ("frames", "animation, smaller first frame"): screen(8) + control(delay=5) + small + second + END,
        ("frames", "animation, each way of disposal"): gif(
            8, before=control(disposal=2), after=control(disposal=3) + small + control(disposal=1) + small
        ),
        ("frames", "both palettes"): gif(8, own=True, shared=True),
        ("frames", "comment, loop and text"): gif(8, before=b"\x21\xfe\x04text\0\x21\xff\x0bNETSCAPE2.0\x03\1\0\0\0"),
        ("frames", "frame of no size"): screen(8) + frame(8, width=0, height=0) + END,
        ("frames", "no end mark"): gif(8)[:-1],
        ("frames", "bytes behind the end"): gif(8) + b"more",
        ("frames", "damaged second frame"): gif(8, after=second[: len(second) // 2]),
        ("frames", "broken second frame's data"): gif(8, after=second[:30] + b"\xff" * 40),
    }
    for name, codes in {
        "growing tables": lzw_codes(indexes(8) * 4, 8),
        "a full table that is used on": lzw_codes(indexes(8) * 4, 8, clear_full=False),
        "a clear code before each code": lzw(indexes(8) * 4, 8, step=1),
        "clear codes in a row": lzw(indexes(8) * 4, 8, clears=3),
    }.items():
        found["codes", name] = screen(8, height=4 * HEIGHT) + frame(8, height=4 * HEIGHT, data=codes) + END
    for height in range(1, 10):
        rows = lzw(indexes(8, 3, height, True), 8)
        found["small, interlaced", f"3x{height}"] = (
            screen(8) + frame(8, width=3, height=height, interlaced=True, data=rows) + END
        )
    for name, (width, height) in SIZES.items():
        found["size", name] = screen(8) + frame(8, width=width, height=height, data=lzw(b"", 8)) + END
    found |= {("damaged", what): file for what, file in _damaged().items()}
    return found


def gif(
    bits: int,
    *,
    version: bytes = b"GIF89a",
    interlaced: bool = False,
    own: bool = False,
    shared: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A file of one frame or more; `own` and `shared` say where the palette is, shared where neither is said."""
    start = screen(bits, palette=shared or not own, version=version)
    return start + before + frame(bits, interlaced=interlaced, own=own) + after + END


def screen(
    bits: int, palette: bool = True, width: int = WIDTH, height: int = HEIGHT, version: bytes = b"GIF89a"
) -> bytes:
    flags = 0x80 | bits - 1 if palette else 0
    return version + struct.pack("<HHBBB", width, height, flags, 0, 0) + (colors(bits) if palette else b"")


def colors(bits: int, turn: int = 0) -> bytes:
    count = 1 << bits
    found = np.stack([np.arange(count) * 37 % 256, np.linspace(0, 255, count), 255 - np.arange(count) * 11 % 256])
    return np.roll(found, turn, axis=0).T.astype(np.uint8).tobytes()


def control(transparent: int | None = None, delay: int = 0, disposal: int = 0) -> bytes:
    flags = disposal << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + struct.pack("<BHB", flags, delay, transparent or 0) + b"\0"


def frame(
    bits: int,
    *,
    left: int = 0,
    top: int = 0,
    width: int = WIDTH,
    height: int = HEIGHT,
    interlaced: bool = False,
    own: bool = False,
    data: bytes | None = None,
    code_size: int | None = None,
) -> bytes:
    flags = 0x40 * interlaced | (0x80 | bits - 1 if own else 0)
    start = b"\x2c" + struct.pack("<HHHHB", left, top, width, height, flags) + (colors(bits, 1) if own else b"")
    size = max(bits, 2) if code_size is None else code_size
    codes = lzw(indexes(bits, width, height, interlaced), size) if data is None else data
    pieces = [codes[at : at + 255] for at in range(0, len(codes), 255)]
    return start + bytes([size]) + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def indexes(bits: int, width: int = WIDTH, height: int = HEIGHT, interlaced: bool = False) -> bytes:
    rows = (numbers(1)[:height, :width, 0] * (2**bits - 1) + 0.5).astype(np.uint8)
    if interlaced:
        order = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
        rows = rows[order]
    return rows.tobytes()


def lzw_codes(data: bytes, size: int, clear_full: bool = True) -> bytes:
    """With compression: codes grow up to 12 bits; then a clear code comes, or the table stays as it is."""
    clear, bits, string = 1 << size, [], b""
    table: dict[bytes, int] = {}

    def put(code: int, length: int) -> None:
        bits.extend(code >> place & 1 for place in range(length))

    def begin() -> None:
        table.clear()
        table.update({bytes([one]): one for one in range(clear)})

    begin()
    put(clear, size + 1)
    known, length = clear + 2, size + 1
    for byte in data:
        longer = string + bytes([byte])
        if longer in table:
            string = longer
            continue
        put(table[string], length)
        if known < 4096:
            table[longer] = known
            known += 1
            length += known > 1 << length and length < 12
        elif clear_full:
            put(clear, length)
            begin()
            known, length = clear + 2, size + 1
        string = bytes([byte])
    put(table[string], length)
    put(clear + 1, length)
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def lzw(data: bytes, size: int, *, end: bool = True, step: int | None = None, clears: int = 1) -> bytes:
    """Without compression: a clear code comes before the codes would grow longer.

    Args:
      data: pixels.
      size: bits of one.
      end: whether the end code comes last.
      end: whether the end code comes last.
      step: pixels between two clear codes, where it is not as many as can be.
      clears: of these codes in a row.
    """
    clear, codes = 1 << size, []
    step = step or max((1 << size) - 2, 1)
    for at in range(0, len(data), step):
        codes += [clear] * clears + [*data[at : at + step]]
    codes += [clear + 1] if end else []
    bits = np.array(codes)[:, None] >> np.arange(size + 1) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()


def _damaged() -> Files:
    whole = gif(8)
    data = lzw(indexes(8), 8)
    return {
        "cut in the middle of the pixels": cut(whole, 0.6),
        "cut in the palette": whole[:200],
        "signature alone": whole[:6],
        "screen alone": whole[:13],
        "no frame": screen(8) + END,
        "a frame header alone": screen(8) + frame(8)[:10],
        "no palette": screen(8, palette=False) + frame(8) + END,
        "half of the pixels, ended properly": screen(8) + frame(8, data=lzw(indexes(8)[:800], 8)) + END,
        "half of the pixels, not ended": screen(8) + frame(8, data=lzw(indexes(8)[:800], 8, end=False)) + END,
        "all pixels, not ended": screen(8) + frame(8, data=lzw(indexes(8), 8, end=False)) + END,
        "pixels too many": screen(8) + frame(8, data=lzw(indexes(8) * 2, 8)) + END,
        "no pixel data": screen(8) + frame(8, data=b"") + END,
        "pixel data without the clear code first": screen(8) + frame(8, data=_shifted(data)) + END,
        "codes that are not yet defined": screen(8) + frame(8, data=b"\0\xff\xff\xff\xff\xff" * 20) + END,
        "pixels that point beyond the palette": screen(2) + frame(8, code_size=8) + END,
        "a code size of 0": screen(8) + frame(8, code_size=8).replace(bytes([8, 255]), bytes([0, 255]), 1) + END,
        "a code size of 12": screen(8) + frame(8, data=data, code_size=12) + END,
        "a code size of 255": screen(8) + frame(8, data=data, code_size=255) + END,
        "a code size of 1": screen(1) + frame(1, data=lzw(indexes(1), 1), code_size=1) + END,
        "an unknown version": b"GIF88a" + whole[6:],
        "an unknown block": screen(8) + b"\x55\x04text\0" + frame(8) + END,
        "zeros between the blocks": screen(8) + b"\0\0" + frame(8) + END,
        "a control block of wrong length": screen(8) + b"\x21\xf9\x02ab\0" + frame(8) + END,
        "flipped bits in the pixels": whole[:900] + bytes(byte ^ 0x5A for byte in whole[900:910]) + whole[910:],
    }


def _shifted(data: bytes) -> bytes:
    """The stream of 9-bit codes without its first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[9:]
    return np.packbits(bits, bitorder="little").tobytes()
