"""Seeds derived from one seed, so that no two draws share their numbers."""

import zlib


def own_seed(seed: int, name: str) -> int:
    """A seed of its own for every layer, so that no two layers start with the same numbers."""
    return zlib.crc32(f"{seed}/{name}".encode()) % 2**31
