"""Which kind of file something is, by its first bytes, and what is said of one that is not read. No TensorFlow here.

The converter, predict and exported models (in their graph) say the same of the same file.
"""

JPEG_SIGN = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GIF_SIGN = b"GIF8"

READ_BY_ALL = {"JPEG": JPEG_SIGN, "PNG": PNG_SIGNATURE, "GIF": GIF_SIGN}
"""Kinds that converter and exported models read, by how they begin."""

OTHER_SIGNS: tuple[tuple[str, int, bytes], ...] = (
    ("BMP", 0, b"BM"),
    *(("TIFF", 0, sign) for sign in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("WebP", 8, b"WEBP"),
    *(("PPM", 0, b"P%d" % number) for number in range(1, 7)),
    *(("AVIF", 4, b"ftyp" + brand) for brand in (b"avif", b"avis")),
    *(("HEIC", 4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
    ("AVIF", 16, b"avif"),
    *(("HEIF", 4, b"ftyp" + brand) for brand in (b"mif1", b"msf1")),
    ("JPEG 2000", 4, b"jP  \r\n\x87\n"),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 4, b"JXL \r\n\x87\n"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XR", 0, b"II\xbc\x01"),
    ("Photoshop", 0, b"8BPS"),
    ("ICO", 0, b"\0\0\1\0"),
    ("SVG", 0, b"<svg"),
    ("PDF", 0, b"%PDF-"),
    ("PostScript", 0, b"%!PS"),
)
"""Names of other kinds, and bytes that they have at a place; the first that fits counts."""

CONVERTER_ONLY = ("BMP", "TIFF", "WebP", "PPM")
"""Of these the converter reads, exported models do not: TensorFlow Serving has no decoder for them."""

HEIF_KINDS = ("HEIC", "HEIF")
"""Phones' pictures, which the converter reads where `pillow-heif` is installed, and exported models do not."""

DAMAGED = "damaged: the file's pixels cannot be decoded"
"""The converter adds in parentheses what it knows of the damage."""
NO_BYTES = "empty file"
UNKNOWN_KIND = "no JPEG, PNG or GIF file"
APPLE_PNG = "a PNG file of Apple's own form (CgBI), for its devices alone: save it as a usual one"
ONE_COLOR = "16-bit samples that all become one color of 8 bits: scale them to the range from 0 to 65535"


def other_kind(name: str) -> str:
    """What is said of a file of a known kind that is not read."""
    return f"{UNKNOWN_KIND} but {name}: save it as one of these"


def needs_heif_reader(name: str) -> str:
    """What the converter says of a file of HEIF_KINDS that it cannot read as it is installed."""
    return f"a {name} file, which needs pillow-heif: pip install 'alexnet-tf[heic]', or save it as JPEG"


def kind_of(data: bytes) -> str | None:
    """A file's kind by its first bytes, damaged or not; None where they are those of none in this module."""
    signs = ((name, 0, sign) for name, sign in READ_BY_ALL.items())
    return next((name for name, place, sign in (*signs, *OTHER_SIGNS) if data.startswith(sign, place)), None)


def damaged(detail: str = "") -> str:
    """DAMAGED with what is known of the damage."""
    return f"{DAMAGED} ({detail})" if detail else DAMAGED
