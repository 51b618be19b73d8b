"""An exported model as something to evaluate, as its users have it."""

from pathlib import Path

import numpy as np

from alexnet_tf.evaluation.ensemble import Net, Pictures, Report
from alexnet_tf.evaluation.probabilities import class_probabilities
from alexnet_tf.pictures.input_pipeline import evaluation_files
from alexnet_tf.program.progress_lines import progress_bar
from alexnet_tf.runs.classes import load_classes
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.versions import CLASSES_FILE, CLASSES_REMEDY, newest_version
from alexnet_tf.towers import Towers

FILES_AT_ONCE = 32
"""Pictures in one call."""


class EvaluatedModel(Net):
    """The newest version in a model's folder, or the one version that is named.

    Raises:
      UserError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = newest_version(path)
        self.name = f"model {self.path}"
        self.classes = load_classes(self.path / CLASSES_FILE, CLASSES_REMEDY)

    def load(self, towers: Towers, report: Report) -> None:
        """Loads it; late, as that makes TensorFlow's devices unchangeable."""
        self.model = ExportedModel(self.path, self.classes)
        for line in self.model.checkpoints:
            report(line)

    def number_of_views(self, views: int, size: int) -> int:
        """See `Net`."""
        return self.model.number_of_views(views)

    def probabilities(self, pictures: Pictures, views: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Net`; from the stored files, which the model prepares itself."""
        self.tell_other_exif(self.model.exif, pictures)
        files = evaluation_files(pictures.data, pictures.manifest, split=pictures.split, batch_size=FILES_AT_ONCE)
        bar = progress_bar(pictures.count, desc=str(self.path))
        return class_probabilities(lambda files: self.model.answer(files, views)[0], files, bar)
