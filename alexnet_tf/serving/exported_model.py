"""An exported model as its users have it: a SavedModel's folder, without the run that it came from."""

from pathlib import Path

import tensorflow as tf

from alexnet_tf.runs.classes import load_classes
from alexnet_tf.serving.versions import CLASSES_FILE, newest_version

SIGNATURES = {1: "probabilities", 10: "ten_view"}
"""By the number of views."""


class ExportedModel:
    """The newest version in a model's folder, or the one version that is named.

    Raises:
      UserError: there is none, or its class names are broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = newest_version(path)
        self.classes = load_classes(self.path / CLASSES_FILE)
        self.signatures = tf.saved_model.load(str(self.path)).signatures

    def answer(self, files: tf.Tensor, views: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
        """What is on pictures.

        Args:
          files: string (N,), picture files.
          views: 1 or 10.

        Returns:
          Probabilities float32 (N, classes), in label order, and status, string (N,): "ok", or why a row is all 0.
        """
        answer = self.signatures[SIGNATURES[views]](image_bytes=files)
        return answer["probabilities"], answer["status"]
