"""Error rates over every picture of a split: of one net, or of several whose probabilities are averaged (section 6)."""

import abc
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_tf.evaluation.error_rates import ErrorRates, error_rates, shifted_labels
from alexnet_tf.evaluation.probabilities import class_probabilities, pictures_at_once, prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import StoredPicture, evaluation_batches, pictures_at
from alexnet_tf.pictures.preparation import number_of_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.progress_lines import progress_bar
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import Classes, check_same_classes
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import Towers, set_up_towers
from tfrecords.exif import Exif
from tfrecords.manifest import Manifest, check_shards, load_manifest

Report = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class Pictures:
    """What nets are evaluated on: a split of a data folder."""

    data: Path
    manifest: Manifest
    split: str

    @staticmethod
    def open(data: Path, split: str, nets: Sequence["Net"]) -> "Pictures":
        """Looks at them, before TensorFlow has any work.

        Raises:
          UserError: they are missing or damaged, or of other classes, another size or other colors than a net knows.
        """
        pictures = Pictures(data, load_manifest(data), split)
        for net in nets:
            net.check(pictures)
        check_shards(data, pictures.manifest, split)
        return pictures

    @staticmethod
    def if_there(given: Path | None, own: Path, split: str, nets: Sequence["Net"]) -> "Pictures | UserError":
        """Those of the folder that was given, else a run's own, which may be gone: then why they cannot be used.

        Raises:
          UserError: as `open`, where folder or split were asked for by name.
        """
        if given is not None or split != "val":
            return Pictures.open(given or own, split, nets)
        try:
            return Pictures.open(own, split, nets)
        except UserError as fault:
            return fault

    @property
    def count(self) -> int:
        """How many pictures."""
        return self.manifest.splits[self.split].records

    def at(self, places: Iterable[int], split: str | None = None) -> list[StoredPicture]:
        """Those at such places, in stored order, of the split or of another one."""
        chosen = [int(place) for place in places]
        return pictures_at(self.data, self.manifest, split=split or self.split, places=chosen)


class Net(abc.ABC):
    """A net that can be evaluated, wherever its weights come from."""

    name: str
    """As in "run runs/a"."""
    classes: Classes

    def check(self, pictures: Pictures) -> None:
        """Sees that the net knows the pictures' classes.

        Raises:
          UserError: it does not, or pictures are of another kind than the net's.
        """
        check_same_classes(self.name, self.classes, pictures.data, pictures.manifest)

    def other_exif(self, exif: Exif, pictures: Pictures) -> str | None:
        """A warning where the net learned from pictures that were turned otherwise than these; `exif` is the net's."""
        own = pictures.manifest.exif
        if exif == own:
            return None
        return (
            f"warning: {self.name} learned from data converted with --exif {exif}, {pictures.data} was converted "
            f"with --exif {own}: pictures taken with the camera turned lie otherwise there"
        )

    def tell_other_exif(self, exif: Exif, pictures: Pictures) -> None:
        """Prints that warning on stderr."""
        if warning := self.other_exif(exif, pictures):
            print(warning, file=sys.stderr)

    def load(self, towers: Towers, report: Report) -> None:  # noqa: B027  not every net has something to do here
        """Called for every net before the first is evaluated, to tell early what can be told early."""

    @abc.abstractmethod
    def number_of_views(self, views: int, size: int) -> int:
        """How many views `views` really are for this net, of stored pictures of that size."""

    @abc.abstractmethod
    def probabilities(self, pictures: Pictures, views: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float64 (images, classes), and labels (images,) in the same order."""


class EvaluatedRun(Net):
    """The weights of a run's best or latest checkpoint."""

    def __init__(self, run: Run, which: Which) -> None:
        self.run, self.which = run, which
        self.name, self.classes = f"run {run.path}", run.classes

    def check(self, pictures: Pictures) -> None:
        """See `Net`; also that size and colors fit."""
        super().check(pictures)
        config = self.run.config
        check_pictures(pictures.data, pictures.manifest, config.preset.network, config.model.preset)

    def load(self, towers: Towers, report: Report) -> None:
        """Keeps the devices; the weights come when their turn does, so that memory holds those of one run only."""
        self.towers, self.report = towers, report

    def number_of_views(self, views: int, size: int) -> int:
        """See `Net`."""
        return number_of_views(views, self.run.config.preset.augment, size)

    def probabilities(self, pictures: Pictures, views: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Net`."""
        config = self.run.config
        model, checkpoint = trained_network(self.run, self.towers, self.which)
        self.report(f"weights of {self.name}: {CheckpointFacts.of(self.run, checkpoint)}")
        self.tell_other_exif(self.run.exif(checkpoint), pictures)
        batches = evaluation_batches(
            pictures.data, pictures.manifest, split=pictures.split, batch_size=pictures_at_once(config, views)
        )
        forward = prediction_function(model, config.preset.augment, self.run.statistics, views)
        return class_probabilities(forward, batches, progress_bar(pictures.count, desc=self.run.path.name))


@dataclass(frozen=True)
class Evaluation:
    """What came out."""

    rates: ErrorRates
    views: set[int]
    """How many each net really had."""
    warning: str | None
    """Where the labels seem to be shifted."""


def evaluate(nets: Sequence[Net], pictures: Pictures, views: int, devices: DevicesConfig, report: Report) -> Evaluation:
    """Evaluates the average of the nets' probabilities over all pictures.

    Args:
      nets: one or more, of the same classes.
      pictures: opened with these nets; each is counted once.
      views: 1, the center crop, or 10.
      devices: where runs compute.
      report: gets a line for each net, which tells whose weights it has.

    Raises:
      UserError: files are damaged or missing, or a net's output is not finite.
    """
    towers = set_up_towers(devices)
    for net in nets:
        net.load(towers, report)
    total: np.ndarray | float = 0.0
    for net in nets:
        probabilities, labels = net.probabilities(pictures, views)
        total = total + probabilities
    averaged = np.asarray(total) / len(nets)
    return Evaluation(
        error_rates(averaged, labels),
        {net.number_of_views(views, pictures.manifest.size) for net in nets},
        shifted_labels(averaged, labels),
    )
