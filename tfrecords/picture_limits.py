"""How much work one picture file may demand, and what is said of a file that demands more. No TensorFlow here.

One set of numbers for the converter, for predict and, inside the graph, for exported models. All are judged by a file's
structure, before a pixel is decoded: a decoder's time follows from the pixels, how many times they are passed over, and
the pieces in which the data come. Ordinary files stay far below every one of them.
"""

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Height times width: Pillow's own limit against decompression bombs, 89,478,485, a picture of 268 MB."""

MAX_FILE_BYTES = 256 << 20
"""Neither the converter nor `predict` or the client reads a larger file: it is no photograph, and memory is bounded."""

MAX_ASPECT = 100
"""The longer side over the shorter: the shorter one becomes 256, so a thread of pixels would become a huge picture."""

MAX_SCANS = 100
"""Of one JPEG file. Progressive photographs have about 10, the longest scripts of known encoders about 20."""

MAX_SCANNED = 1_000_000_000
"""Pixels of a JPEG file's scans in all, a scan of three components counted three times. 50 megapixels in the usual ten
scans have 700 million; the decoder takes about 1 ns for each."""

MAX_SEGMENTS = 1000
"""Of one JPEG file, up to its end marker. A segment holds 64 kB, so only metadata in tiny pieces comes near."""

MAX_CHUNKS = 1000
"""Of one PNG file, beside one more for each KiB of the file; encoders write pieces of 8 KiB or more."""

SPARE_PNG_DATA = 1 << 16
"""Compressed bytes that a PNG file may have beyond its size uncompressed (png_room). TensorFlow's decoder inflates
all of them, to a thousand times their number, however few pixels there are."""

MAX_BLOCKS = 5000
"""Of one GIF file, up to the end of its first frame. Equal ones in a row, up to EQUAL_BLOCKS, count as one."""

EQUAL_BLOCKS = 1024
"""A GIF file's data come in blocks of 255 bytes, the last one less."""

LARGE_FILE = f"file larger than {MAX_FILE_BYTES >> 20} MiB"
MANY_SCANS = f"too much work: more than {MAX_SCANS} scans"
MUCH_SCANNED = f"too much work: scans of more than {MAX_SCANNED // 1_000_000} million pixels in all"
MANY_SEGMENTS = f"too much work: more than {MAX_SEGMENTS} segments"
MANY_CHUNKS = f"too much work: more than {MAX_CHUNKS} chunks and one for each KiB of the file"
MUCH_PNG_DATA = "too much work: more compressed data than so few pixels need"
MANY_BLOCKS = f"too much work: more than {MAX_BLOCKS} blocks of unequal length before the end of the first frame"


def size_fault(width: int, height: int) -> str | None:
    """What is wrong with a picture's size as its file claims it; None where nothing is."""
    size = f"{width}x{height} pixels"
    short, long = sorted((width, height))
    if short < 1:
        return f"no picture: {size}"
    if long > MAX_PIXELS // short:
        return f"too large: {size}, at most {MAX_PIXELS} in all"
    if long > MAX_ASPECT * short:
        return f"too thin: {size}, at most {MAX_ASPECT} times as long as wide"
    return None
