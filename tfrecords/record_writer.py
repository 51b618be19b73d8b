"""Files of records as TensorFlow reads them, written without it: loading it takes a worker longer than a shard.

The format is stated in TensorFlow's core/lib/io/record_writer.h: of each record its length, a checksum of that, the
record, a checksum of it. The checksums are CRC-32C, rotated and shifted as core/lib/hash/crc32c.h says: data may
hold checksums of their own.
"""

import struct
from pathlib import Path
from types import TracebackType

import google_crc32c

LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
MASK_DELTA = 0xA282EAD8


class RecordWriter:
    """A new file of records; a context that closes it.

    Raises:
      OSError: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, record: bytes) -> None:
        """Adds a record."""
        length = LENGTH.pack(len(record))
        self._file.write(length + _masked_checksum(length))
        self._file.write(record)
        self._file.write(_masked_checksum(record))

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _masked_checksum(data: bytes) -> bytes:
    checksum = google_crc32c.value(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return CHECKSUM.pack((rotated + MASK_DELTA) & 0xFFFFFFFF)
