"""Untrusted compressed data: a thousand bytes can stand for a million, so they are decompressed piece by piece."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

INFLATED = 1 << 20
"""Bytes that one step gives at most, unless `most` says otherwise."""
PIECE = 1 << 16
"""Bytes that one step is given: what it leaves is copied for the next."""


def inflated(
    pieces: Iterable[bytes | memoryview], stream: Any, most: Callable[[], int] = lambda: INFLATED
) -> Iterator[bytes]:
    """What compressed data stand for, a step at a time, up to the end of the stream or of the data.

    Args:
      pieces: the data.
      stream: a new zlib.decompressobj; its `eof` tells afterwards whether the end was there.
      most: how many bytes, at least 1, the next step may give.

    Raises:
      zlib.error: the data are damaged.
    """
    for piece in pieces:
        for start in range(0, len(piece), PIECE):
            data, full = bytes(piece[start : start + PIECE]), True
            while (data or full) and not stream.eof:
                step = most()
                content = stream.decompress(data, step)
                data, full = stream.unconsumed_tail, len(content) == step
                yield content
