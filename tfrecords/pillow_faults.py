"""What is said of a file at which Pillow fails: its decoders' own words are for programmers. No TensorFlow here."""

import contextlib
import ctypes
import functools

from PIL import _imaging

from tfrecords.picture_kinds import damaged

TOO_SHORT = ("truncated", "eof", "not enough")
UNSUPPORTED = "unsupported"
OF_MANY_KINDS = ("BMP", "TIFF")
"""Formats of so many kinds within that a header that makes no sense here may be a sound one."""


def reason_of(fault: Exception, kind: str | None) -> str:
    """Why a file is refused.

    Args:
      fault: of Pillow, almost any exception.
      kind: of the file, by its first bytes.
    """
    words = str(fault).lower()
    if any(word in words for word in TOO_SHORT):
        return damaged("the file ends before its pixels do")
    if kind is not None and UNSUPPORTED in words:
        return unread_header(kind)
    return damaged(f"the data of the {kind or 'picture'} file make no sense")


def unread_header(kind: str) -> str:
    """What is said of a file of a known kind of which the header cannot be read."""
    also = ": it is damaged, or of a rare kind" if kind in OF_MANY_KINDS else ""
    return damaged(f"the header of the {kind} file cannot be read{also}")


@functools.cache
def silence_libtiff() -> None:
    """Makes libtiff say nothing on stderr, to which it writes past Python; Pillow switches off its warnings alone.

    Where Pillow has been built so that the library cannot be found, nothing is changed.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)  # loaded long since; the libraries that it needs are searched, too
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetErrorHandlerExt):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
