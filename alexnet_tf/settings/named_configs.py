"""The configs that come with the program: the files of configs/, each with a name, as in `--config paper`."""

import argparse
import itertools
from pathlib import Path

from alexnet_tf.program.errors import UserError

FOLDER = (Path(__file__).parent / "configs").resolve()
"""A link to configs/ in a checkout, a folder in an installed package."""
USUAL_BEGINNING = "alexnet_"
"""Left out of names: alexnet_paper.yaml is called paper."""


def named_configs() -> dict[str, Path]:
    """Every config that comes with the program, by its name."""
    return {
        path.stem.removeprefix(USUAL_BEGINNING).replace("_", "-"): path
        for path in sorted(FOLDER.glob("*.yaml"), key=lambda path: path.stem.removeprefix(USUAL_BEGINNING))
    }


def find_config(given: str) -> Path:
    """The file that `--config` means: the user's own, or, of that name, the program's.

    Raises:
      UserError: a plain word is neither.
    """
    path, known = Path(given), named_configs()
    if path.is_file() or path.name != given or path.suffix:
        return path
    if given not in known:
        raise UserError(f"--config {given}: there is no such file, and no config of that name: {', '.join(known)}")
    return known[given]


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """`--config`, and the overrides of its fields: `config`, a Path, and `overrides`, a list of texts."""
    add = parser.add_argument
    add("--config", type=find_config, required=True, metavar="FILE",
        help=f"a YAML file, or the name of one that comes with the program: {', '.join(named_configs())}")  # fmt: skip
    add("overrides", nargs="*", metavar="section.key=value",
        help="sets a field of the config, as in data.batch_size=64; train --show-config explains all")  # fmt: skip


def purpose(path: Path) -> str:
    """The first sentence of a config's comment: what it is for."""
    lines = (line.removeprefix("#").strip() for line in path.read_text(encoding="utf-8").splitlines())
    return " ".join(itertools.takewhile(bool, lines)).partition(". ")[0].removesuffix(".") + "."
