"""How figures are drawn here: on white, by matplotlib, whatever a user's own settings of it say."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from alexnet_tf.program.environment import without

with without("MPLBACKEND", "MATPLOTLIBRC"):  # a notebook's terminal names a backend that may not be installed here
    import matplotlib.style
    from matplotlib import colormaps as colormaps
    from matplotlib import font_manager, rc_context
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.patches import FancyBboxPatch as FancyBboxPatch

BLUE, RED, GREEN, GRAY, INK = "#2b6cb0", "#c53030", "#2f855a", "#8a94a0", "#1f2933"
TOWER_COLORS = {"a": BLUE, "b": "#b7791f"}
OTHER_LETTERS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Micro Hei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)
"""Fonts for names in letters that matplotlib's own font lacks; used where they are installed."""


@contextlib.contextmanager
def our_style() -> Iterator[None]:
    """Whatever is drawn and saved meanwhile looks the same everywhere."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    own = {
        "font.family": ["DejaVu Sans", *(name for name in OTHER_LETTERS if name in installed)],
        "font.size": 9,
        "text.parse_math": False,  # a class may be called $x$
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GRAY,
        "axes.titlesize": 10,
        "svg.hashsalt": "alexnet-tf",  # the same figure is the same file
    }
    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # the tables have the name
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support .* natively")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        matplotlib.style.use(["default", own])
        yield


def shortened(name: str, most: int, *, synonyms: bool = True) -> str:
    """A name of at most `most` letters, in one line: "goldfish" of "goldfish, Carassius auratus", else the two ends.

    Args:
      name: of a class, or of a file.
      most: letters.
      synonyms: whether a comma parts names for the same thing, as in WordNet; not in a file's name.
    """
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    if len(name) <= most:
        return name
    first = name.partition(",")[0]
    if synonyms and 0 < len(first) <= most:
        return first
    end = (most - 1) // 3
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}" if end else f"{name[: most - 1]}…"
