"""An exported model as its users have it: a SavedModel's folder, without the run that it came from."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.pattern_paths import PATTERN_SIGNS, is_pattern
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import Classes, load_classes
from alexnet_tf.serving.answers import most_probable
from alexnet_tf.serving.given_pictures import picture_for_model
from alexnet_tf.serving.metadata import exif_of, read_model_file
from alexnet_tf.serving.picture_files import OK
from alexnet_tf.serving.versions import CLASSES_FILE, CLASSES_REMEDY, newest_version
from tfrecords.exif import Exif

TRANSPOSED_KERNEL = "transposed_kernel"
"""What an export calls a fully connected layer's kernel, which it holds transposed."""
SIGNATURES = {1: "probabilities", 10: "ten_view"}
"""By the number of views."""


class ExportedModel:
    """The newest version in a model's folder, or the one version that is named.

    Args:
      path: the folder.
      classes: the version's classes, where they were read before; None reads them.

    Raises:
      UserError: there is none, files of it are missing, or it cannot be loaded.
    """

    def __init__(self, path: AnyPath, classes: Classes | None = None) -> None:
        path = Path(path)
        self.path = newest_version(path)
        self.classes = classes or load_classes(self.path / CLASSES_FILE, CLASSES_REMEDY)
        self.metadata: dict[str, Any] = read_model_file(self.path) or {}
        self.exif: Exif = exif_of(self.metadata)
        """Whether it turns picture files by their EXIF orientation."""
        self._loaded = _load(self.path)
        self.signatures = self._loaded.signatures
        if missing := [name for name in SIGNATURES.values() if name not in self.signatures]:
            raise UserError(f"{self.path} was not made by alexnet-tf export: it has no signature {missing[0]}")

    @property
    def checkpoints(self) -> list[str]:
        """Which checkpoints its weights are of, a line a net."""
        nets = self.metadata.get("nets", [self.metadata])  # the first exports were of one net each
        found = [CheckpointFacts.of_export(net) for net in nets] if isinstance(nets, list) else []
        return [f"weights of model {self.path}: {facts}" for facts in found if facts is not None]

    def number_of_views(self, views: int) -> int:
        """How many views ten really are; models of earlier versions, which do not tell, have ten."""
        if views == 1:
            return 1
        try:
            return max(int(net["ten_view"]) for net in self.metadata["nets"])
        except (ValueError, KeyError, TypeError):
            return views

    def values(self) -> dict[str, np.ndarray]:
        """Every variable of a single net by its name in the network, such as "conv1_a/kernel"."""
        found = {}
        for name, variable in self._loaded.weights.items():
            layer, _, part = name.rpartition("/")
            if part == TRANSPOSED_KERNEL:
                found[f"{layer}/kernel"] = variable.numpy().T
            else:
                found[name] = variable.numpy()
        return found

    def answer(self, files: tf.Tensor, views: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
        """The probabilities of pictures.

        Args:
          files: string (N,), picture files.
          views: 1 or 10.

        Returns:
          Probabilities float32 (N, classes), in label order, and status, string (N,): "ok", or why a row is all 0.
        """
        answer = self.signatures[SIGNATURES[views]](image_bytes=files)
        return answer["probabilities"], answer["status"]

    def classify(self, path: AnyPath) -> np.ndarray:
        """What is on a picture file: probabilities float32 (classes,), in label order.

        Raises:
          UserError: it cannot be read or used; names it and says why.
        """
        probabilities, status = self.answer(tf.constant([picture_for_model(path, self.exif)]))
        if status.numpy()[0].decode() != OK:
            raise UserError(f"picture {path}: {status.numpy()[0].decode()}")
        return probabilities.numpy()[0]

    def top(self, path: AnyPath, count: int) -> list[dict[str, Any]]:
        """The most probable classes of a picture file: label, name and probability of each; of equal ones the first.

        Raises:
          UserError: as `classify`.
        """
        return most_probable(self.classify(path), self.classes, count)


def _load(folder: Path) -> Any:
    variables = folder / "variables"
    found = set(os.listdir(variables)) if variables.is_dir() else set()
    for name in ("variables.index", "variables.data-00000-of-00001"):
        if name not in found:
            raise UserError(f"variables/{name} is missing from {folder}; copy the whole folder again, or export again")
    try:
        return tf.saved_model.load(str(folder))
    except Exception as fault:  # damaged files may raise any exception
        if is_pattern(folder):
            raise UserError(
                f"{folder} cannot be loaded: TensorFlow takes its path for a pattern and does not find the files; move "
                f"it to a path without any of {' '.join(PATTERN_SIGNS)}"
            ) from fault
        raise UserError(
            f"{folder} cannot be loaded: its files are damaged, or this TensorFlow ({tf.__version__}) is older than "
            "the one that wrote them; export again"
        ) from fault
