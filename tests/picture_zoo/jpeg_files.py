"""JPEG files of every color space, coding, sampling and orientation, and damaged ones."""

import io
import struct

from PIL import Image

from tests.faults.hostile_pictures import encoded, segment, with_segments
from tests.picture_zoo.files import SIZES, Files, cut, numbers, pixels
from tests.tfrecords.odd_pictures import cmyk_jpeg, unmarked_cmyk_jpeg, ycck_jpeg

SAMPLINGS = {
    "4:4:4": (0x11, 0x11, 0x11),
    "4:2:2": (0x21, 0x11, 0x11),
    "4:4:0": (0x12, 0x11, 0x11),
    "4:2:0": (0x22, 0x11, 0x11),
    "4:1:1": (0x41, 0x11, 0x11),
    "4:1:0": (0x42, 0x11, 0x11),
    "1x4": (0x14, 0x11, 0x11),
    "2x2 throughout": (0x22, 0x22, 0x22),
    "3x1": (0x31, 0x11, 0x11),
    "1x3": (0x13, 0x11, 0x11),
    "2x2, 2x1, 2x1": (0x22, 0x21, 0x21),
    "2x2, 1x2, 1x2": (0x22, 0x12, 0x12),
    "2x1, 2x1, 1x1": (0x21, 0x21, 0x11),
    "color finer than gray": (0x11, 0x22, 0x22),
    "2x1, 1x2, 1x1": (0x21, 0x12, 0x11),
    "3x2, 1x1, 1x1": (0x32, 0x11, 0x11),
    "3x1, 2x1, 1x1": (0x31, 0x21, 0x11),
}
"""Across and down, of luminance and the two colors; each written by hand."""


def jpeg_files() -> Files:
    """By kind and variant."""
    picture = Image.fromarray(pixels())
    gray = Image.fromarray(pixels(1))
    found: Files = {
        ("coding", "baseline"): encoded(picture, "JPEG"),
        ("coding", "own Huffman tables"): encoded(picture, "JPEG", optimize=True),
        ("coding", "progressive"): encoded(picture, "JPEG", progressive=True),
        ("coding", "restart markers"): encoded(picture, "JPEG", restart_marker_blocks=1),
        ("coding", "lowest quality"): encoded(picture, "JPEG", quality=1),
        ("coding", "highest quality"): encoded(picture, "JPEG", quality=100, subsampling=0),
        ("colors", "gray"): encoded(gray, "JPEG"),
        ("colors", "gray, progressive"): encoded(gray, "JPEG", progressive=True),
        ("colors", "RGB, not YCbCr"): encoded(picture, "JPEG", keep_rgb=True),
        ("colors", "CMYK with Adobe's mark"): cmyk_jpeg(pixels()),
        ("colors", "CMYK without a mark"): unmarked_cmyk_jpeg(pixels()),
        ("colors", "YCCK"): ycck_jpeg(pixels()),
        ("colors", "a color profile"): encoded(picture, "JPEG", icc_profile=bytes(200_000)),
        ("colors", "a color profile for print"): encoded(
            picture.convert("CMYK"), "JPEG", icc_profile=bytes(200_000), progressive=True
        ),
        ("pictures within", "a second picture, as phones store it (MPO)"): mpo(),
        ("pictures within", "a thumbnail"): with_segments(
            encoded(picture, "JPEG"), segment(0xE1, b"Exif\0\0" + encoded(gray, "JPEG"))
        ),
        ("pictures within", "a film behind the end"): encoded(picture, "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(4000),
        ("frame", "one gray component of 2x2"): hand_made((0x22,)),
        ("frame", "two components"): hand_made((0x11, 0x11)),
        ("frame", "five components"): hand_made((0x11,) * 5),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found["EXIF orientation", str(orientation)] = encoded(picture, "JPEG", exif=exif)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            found["sampling by Pillow", subsampling + ", progressive" * progressive] = encoded(
                picture, "JPEG", subsampling=subsampling, progressive=progressive
            )
    found |= {("sampling by hand", name): hand_made(factors) for name, factors in SAMPLINGS.items()}
    found |= {("marks of colors", what): file for what, file in _marked().items()}
    found |= {("built by hand", what): file for what, file in _built().items()}
    whole = encoded(picture, "JPEG")
    size = whole.index(b"\xff\xc0") + 5
    for name, (width, height) in SIZES.items():
        found["size", name] = whole[:size] + struct.pack(">HH", height, width) + whole[size + 4 :]
    found |= {("damaged", what): file for what, file in _damaged().items()}
    found |= {("rare kinds", what): file for what, file in _rare().items()}
    return found


def mpo() -> bytes:
    """Two pictures in one file: the second is a view from another place, or the same one in other light."""
    first, second = Image.fromarray(pixels()), Image.fromarray(255 - pixels())
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


DC_LENGTHS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
DC_CODES = ("00", "010", "011", "100", "101", "110", "1110", "11110", "111110")
"""By the bits of a difference, as the standard's table K.3 has them."""


def _marked() -> Files:
    """What says which colors the components are: their numbers, JFIF's mark, Adobe's mark, or nothing."""
    gray, three, four = hand_made((0x11,)), hand_made((0x11,) * 3), hand_made((0x11,) * 4)
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")

    def adobe(transform: int) -> bytes:
        return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))

    found: Files = {}
    marks = {
        "no mark": [],
        "JFIF": [jfif],
        "both, RGB by Adobe": [jfif, adobe(0)],
        "both, YCbCr by Adobe": [adobe(1), jfif],
    }
    for name, numbers_ in {"1, 2, 3": (1, 2, 3), "R, G, B": b"RGB", "0, 1, 2": (0, 1, 2), "7, 5, 3": (7, 5, 3)}.items():
        for mark, segments in marks.items():
            found[f"{name}; {mark}"] = with_segments(_numbered(three, bytes(numbers_)), *segments)
    for transform in range(4):
        found[f"three components, Adobe's {transform}"] = with_segments(three, adobe(transform))
        found[f"four components, Adobe's {transform}"] = with_segments(four, adobe(transform))
    return found | {
        "gray with Adobe's mark": with_segments(gray, adobe(1)),
        "four components, JFIF": with_segments(four, jfif),
        "C, M, Y, K": _numbered(four, b"CMYK"),
        "two marks of Adobe's, which differ": with_segments(three, adobe(0), adobe(1)),
        "Adobe's mark behind the frame": three.replace(b"\xff\xc4", adobe(0) + b"\xff\xc4", 1),
        "Adobe's mark, longer": with_segments(three, segment(0xEE, b"Adobe\0\x64\0\0\0\0\0more")),
        "JFIF of version 2": with_segments(three, segment(0xE0, b"JFIF\0\2\1\0\0\1\0\1\0\0")),
        "JFIF's mark after Adobe's in the file": with_segments(_numbered(three, b"RGB"), adobe(0), jfif),
    }


def _numbered(file: bytes, names: bytes) -> bytes:
    """With other numbers of the components, in frame and scan."""
    changed = bytearray(file)
    frame, scan = file.index(b"\xff\xc0"), file.index(b"\xff\xda")
    for place, name in enumerate(names):
        changed[frame + 10 + 3 * place] = changed[scan + 5 + 2 * place] = name
    return bytes(changed)


def _built() -> Files:
    """Legal ways that usual encoders do not take, and illegal ones."""
    whole, gray = hand_made((0x11,) * 3), hand_made((0x11,))
    table = segment(0xDB, b"\0" + b"\x18" * 64)
    scan = whole.index(b"\xff\xda")
    data = scan + 14
    return {
        "quantization of 16 bits": whole.replace(table, segment(0xDB, b"\x10" + b"\0\x18" * 64)),
        "quantization of 16 bits, large": whole.replace(table, segment(0xDB, b"\x10" + b"\1\0" * 64)),
        "quantization by 0": whole.replace(table, segment(0xDB, b"\0" + bytes(64))),
        "a table given twice, the second counts": whole.replace(table, segment(0xDB, b"\0" + b"\1" * 64) + table),
        "tables of both kinds in one segment": whole.replace(
            table, segment(0xDB, b"\1" + b"\7" * 64 + b"\0" + b"\x18" * 64)
        ),
        "a restart interval of 0": whole[:scan] + segment(0xDD, b"\0\0") + whole[scan:],
        "a restart interval beyond the picture": whole[:scan] + segment(0xDD, b"\xff\xff") + whole[scan:],
        "a restart interval without marks": whole[:scan] + segment(0xDD, b"\0\2") + whole[scan:],
        "filling in the pixels": whole[: data + 8] + b"\xff\xff\0" + whole[data + 8 :],
        "a mark of no meaning in the pixels": whole[: data + 8] + b"\xff\x05" + whole[data + 8 :],
        "the scan once more": whole[:-2] + whole[scan:],
        "the scan of one component alone": gray[:-2] + gray[gray.index(b"\xff\xda") :],
        "three components, a scan of one": whole[:scan] + gray[gray.index(b"\xff\xda") :],
        "components in another order in the scan": whole[: scan + 5] + b"\3\0\2\0\1\0" + whole[scan + 11 :],
        "a component twice in the scan": whole[: scan + 5] + b"\1\0\1\0\3\0" + whole[scan + 11 :],
        "a component in the scan that is none": whole[: scan + 5] + b"\1\0\2\0\x09\0" + whole[scan + 11 :],
        "two components of one number": _numbered(whole, b"\1\1\3"),
        "a progressive frame about a baseline scan": whole.replace(b"\xff\xc0", b"\xff\xc2"),
        "a part of the coefficients in a baseline scan": whole[: scan + 11] + b"\0\5\0" + whole[scan + 14 :],
        "a height that comes after the scan": _tall(whole, 0)[:-2] + segment(0xDC, b"\0\x60") + whole[-2:],
        "another height after the scan": whole[:-2] + segment(0xDC, b"\0\x30") + whole[-2:],
        "a height beyond the pixels": _tall(whole, 200),
        "less height than pixels": _tall(whole, 40),
    }


def _tall(file: bytes, height: int) -> bytes:
    place = file.index(b"\xff\xc0") + 5
    return file[:place] + struct.pack(">H", height) + file[place + 2 :]


def hand_made(factors: tuple[int, ...], side: int = 96) -> bytes:
    """A picture of blocks of one color each, with any sampling.

    Args:
      factors: for each component its sampling, four bits across and four down.
      side: pixels, a multiple of all units.
    """
    wide, tall = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    levels = []
    for number, factor in enumerate(factors):
        across, down = -(-side // (8 * wide)) * (factor >> 4), -(-side // (8 * tall)) * (factor & 15)
        levels.append((numbers(4, across, down)[:, :, number % 4] * 60 - 30).round().astype(int))
    bits, before = [], [0] * len(factors)
    for row in range(-(-side // (8 * tall))):
        for column in range(-(-side // (8 * wide))):
            for number, factor in enumerate(factors):
                for y in range(factor & 15):
                    for x in range(factor >> 4):
                        level = levels[number][row * (factor & 15) + y, column * (factor >> 4) + x]
                        bits.append(_difference(level - before[number]) + "0")
                        before[number] = level
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    packed = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    count = bytes([len(factors)])
    frame = struct.pack(">BHH", 8, side, side) + count
    frame += b"".join(bytes([number + 1, factor, 0]) for number, factor in enumerate(factors))
    scan = count + b"".join(bytes([number + 1, 0]) for number in range(len(factors))) + b"\0\x3f\0"
    tables = segment(0xDB, b"\0" + b"\x18" * 64) + segment(0xC0, frame)
    tables += segment(0xC4, b"\0" + bytes(DC_LENGTHS) + bytes(range(12)))
    tables += segment(0xC4, b"\x10" + b"\1" + bytes(15) + b"\0")  # one code, 0: nothing else in the block
    return b"\xff\xd8" + tables + segment(0xDA, scan) + packed + b"\xff\xd9"


def _difference(value: int) -> str:
    size = int(abs(value)).bit_length()
    extra = value if value >= 0 else value + (1 << size) - 1
    return DC_CODES[size] + (format(extra, f"0{size}b") if size else "")


def _damaged() -> Files:
    whole = encoded(Image.fromarray(pixels()), "JPEG")
    progressive = encoded(Image.fromarray(pixels()), "JPEG", progressive=True)
    restarts = encoded(Image.fromarray(pixels()), "JPEG", restart_marker_blocks=1)
    scan = whole.index(b"\xff\xda")
    data = scan + 14
    frame = whole.index(b"\xff\xc0")
    mark = restarts.index(b"\xff\xd0")
    changed = bytearray(whole)
    changed[data + 40 : data + 44] = b"\x5a\x5a\x5a\x5a"
    return {
        "cut in the middle of the pixels": whole[: (data + len(whole)) // 2],
        "cut in the middle, ended": whole[: (data + len(whole)) // 2] + b"\xff\xd9",
        "cut in the middle of a scan, progressive": cut(progressive, 0.8),
        "cut between scans, ended, progressive": progressive[: progressive.rindex(b"\xff\xda")] + b"\xff\xd9",
        "no end mark": whole[:-2],
        "half of an end mark": whole[:-1],
        "cut in the header": whole[: scan - 100],
        "signature alone": whole[:3],
        "no scan": whole[:scan] + b"\xff\xd9",
        "no frame": whole[:frame] + whole[frame + 19 :],
        "no quantization table": _without(whole, 0xDB),
        "no Huffman table": _without(whole, 0xC4),
        "changed bytes in the pixels": bytes(changed),
        "bytes of no meaning before the end": whole[:-2] + b"\x12\x34\x56\x78" * 4 + whole[-2:],
        "bytes of no meaning between segments": whole.replace(b"\xff\xc4", b"\x12\x34\xff\xc4"),
        "a restart mark missing": restarts[:mark] + restarts[mark + 2 :],
        "restart marks in a wrong order": restarts.replace(b"\xff\xd0", b"\xff\xd5", 1),
        "a segment of length 0": with_segments(whole, b"\xff\xfe\0\0"),
        "a segment of length 1": with_segments(whole, b"\xff\xfe\0\1"),
        "a segment beyond the end": with_segments(whole, b"\xff\xfe\xff\xff"),
        "an EXIF segment cut": with_segments(whole, segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")),
        "a mark of Adobe's cut": with_segments(whole, segment(0xEE, b"Adob")),
        "a JFIF mark cut": with_segments(whole, segment(0xE0, b"JFIF")),
        "no color components": whole[: frame + 9] + b"\0" + whole[frame + 10 :],
        "height 0": whole[: frame + 5] + b"\0\0" + whole[frame + 7 :],
        "width 0": whole[: frame + 7] + b"\0\0" + whole[frame + 9 :],
        "a sampling of 0": whole[: frame + 11] + b"\0" + whole[frame + 12 :],
        "a sampling of 5": whole[: frame + 11] + b"\x51" + whole[frame + 12 :],
        "a frame twice": whole[:scan] + whole[frame : frame + 19] + whole[scan:],
        "start marks twice": b"\xff\xd8" + whole,
        "a table with codes that cannot be": whole.replace(b"\xff\xc4\0\x1f\0\0\1", b"\xff\xc4\0\x1f\0\xff\xff", 1),
        "bytes behind the end": whole + b"more",
        "pixels too many": whole[:-2] + whole[data:],
    }


def _without(file: bytes, code: int) -> bytes:
    while (place := file.find(bytes([0xFF, code]))) >= 0:
        file = file[:place] + file[place + 2 + struct.unpack_from(">H", file, place + 2)[0] :]
    return file


def _rare() -> Files:
    whole = encoded(Image.fromarray(pixels()), "JPEG")
    frame = whole.index(b"\xff\xc0")
    kinds = {
        "lossless": (0xC3, 8),
        "hierarchical": (0xC5, 8),
        "arithmetic coding": (0xC9, 8),
        "arithmetic coding, progressive": (0xCA, 8),
        "lossless, arithmetic coding": (0xCB, 8),
        "12 bits a sample": (0xC1, 12),
        "12 bits a sample, progressive": (0xC2, 12),
        "16 bits a sample, lossless": (0xC3, 16),
        "extended": (0xC1, 8),
        "7 bits a sample": (0xC0, 7),
    }
    found: Files = {}
    for name, (code, precision) in kinds.items():
        changed = bytearray(whole)
        changed[frame + 1], changed[frame + 4] = code, precision
        found[name] = bytes(changed)
    return found
