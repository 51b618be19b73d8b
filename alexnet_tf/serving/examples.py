"""Pictures that travel with an export, to try it on: some of the validation split of the run's data.

Only where they are asked for, for whoever gets the model gets them, too, and most data sets are not to be passed on.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alexnet_tf.pictures.input_pipeline import evaluation_files
from alexnet_tf.pictures.one_of_each import one_of_each_class
from alexnet_tf.program.whole_files import read_whole
from alexnet_tf.runs.classes import check_same_classes
from alexnet_tf.runs.run import Run
from alexnet_tf.serving.versions import EXAMPLE, EXAMPLES, MOST_EXAMPLES
from tfrecords.manifest import check_shards, load_manifest

SPLIT = "val"
LOOKED_AT = 500
"""Pictures that they are taken from: the first ones, which a conversion stores in random order."""
LARGEST = 4_000_000
"""Bytes of an example that a server keeps in memory."""


class Example(NamedTuple):
    """A picture to try a model on."""

    file: bytes
    """JPEG or PNG."""
    suffix: str
    """Of its name: "jpg" or "png"."""
    label: int


def chosen_examples(run: Run, count: int) -> list[Example]:
    """Validation pictures of as many classes as can be, chosen by nothing but their order.

    Raises:
      UserError: the run's data are missing or damaged, or of other classes by now.
    """
    folder = run.config.data.dir
    manifest = load_manifest(folder)
    check_same_classes(f"run {run.path}", run.classes, folder, manifest, "they have changed: leave out --examples")
    check_shards(folder, manifest, SPLIT)
    files, labels = next(iter(evaluation_files(folder, manifest, split=SPLIT, batch_size=LOOKED_AT)))
    suffix = "jpg" if manifest.encoding == "jpeg" else "png"
    places = one_of_each_class(labels.numpy(), count)
    return [Example(files.numpy()[place], suffix, int(labels.numpy()[place])) for place in places]


def write_examples(version: Path, examples: Sequence[Example]) -> None:
    """Writes them into a version's folder."""
    if examples:
        (version / EXAMPLES).mkdir(parents=True)
    for place, example in enumerate(examples):
        (version / EXAMPLES / f"{place}-{example.label}.{example.suffix}").write_bytes(example.file)


def read_examples(version: Path) -> list[Example]:
    """Those in a version's folder; without such as cannot be read or are too large to be shown."""
    found = {}
    for path in (version / EXAMPLES).glob("*"):
        name = EXAMPLE.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if name is not None and path.stat().st_size <= LARGEST:
                place, label, suffix = name.groups()
                found[int(place)] = Example(read_whole(path), suffix, int(label))
    return [found[place] for place in sorted(found)][:MOST_EXAMPLES]
