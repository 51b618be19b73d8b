"""The compressed data of a GIF file's frame: whether each code in it stands for something. No TensorFlow here.

Decoders do not agree on the others: Pillow gives up, TensorFlow's goes on with pixels of no meaning. The same rules, as
a graph, are in `alexnet_tf.serving.gif_structure`.

Codes have a bit more than a pixel at first. Each but the first of a table adds one to it, of which they may speak from
then on; as the table grows, so do the codes, up to 12 bits. A clear code begins a new table.
"""

import numpy as np

MOST_CODES = 4096
"""In a table; from there on it stays as it is."""
LONGEST = 12
AT_ONCE = 1024
"""Codes that are looked at in one step."""
MAX_TABLES = 5000
"""Of one frame. Encoders begin a new one after 4096 codes; those that do not compress at all, after 254."""
MANY_TABLES = f"too much work: more than {MAX_TABLES} tables of codes in a GIF file's frame"


def sound_codes(data: bytes, size: int) -> bool | None:
    """Whether all codes up to the end code, or the end of the data, stand for something.

    Args:
      data: without the lengths of its blocks.
      size: bits of a pixel, from 2 to 8.

    Returns:
      None where there are more than MAX_TABLES tables.
    """
    padded = np.frombuffer(data + bytes(3), np.uint8).astype(np.int32)
    clear, total, at, number, tables = 1 << size, 8 * len(data), 0, 0, 1
    while tables <= MAX_TABLES:
        numbers = number + np.arange(AT_ONCE)
        known = np.minimum(clear + 2 + np.maximum(numbers - 1, 0), MOST_CODES)
        lengths = np.clip(np.floor(np.log2(known)).astype(int) + 1, size + 1, LONGEST)
        ends = at + np.cumsum(lengths)
        inside = ends <= total
        starts = np.where(inside, ends - lengths, 0)
        codes = sum(padded[(starts >> 3) + place] << 8 * place for place in range(3)) >> (starts & 7)
        codes &= (1 << lengths) - 1
        ending = ~inside | (codes == clear + 1)
        wrong = (codes > np.where(numbers == 0, clear, known)) & (known < MOST_CODES)
        stops = ending | wrong | (codes == clear)
        first = int(np.argmax(stops))
        if not stops[first]:
            at, number = int(ends[-1]), min(number + AT_ONCE, MOST_CODES)
            continue
        if ending[first]:
            return True
        if codes[first] != clear:
            return False
        at, number, tables = int(ends[first]), 0, tables + 1
    return None
