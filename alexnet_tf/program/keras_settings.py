"""Keras as this project needs it: TensorFlow, float32, channels last, whatever other projects left behind for Keras.

Keras reads ~/.keras/keras.json and several variables of the environment while it is imported. They belong to no
project: a floatx set there years ago would change the precision of every weight; another image_data_format or backend,
or a file that is no JSON, would end in a traceback. So Keras is imported without them. No import of Keras here.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from alexnet_tf.program.environment import without
from alexnet_tf.program.errors import UserError

BACKEND, FLOATX, DATA_FORMAT, EPSILON = "tensorflow", "float32", "channels_last", 1e-7
"""Keras' own defaults."""
NOWHERE = os.path.join(os.devnull, "keras")
"""A path where there is no folder, and none can be made."""
GALLERY = ("keras.src.visualization", "keras.visualization")
"""What Keras 3 has for drawing pictures. No command uses it, and it imports all of matplotlib."""


@contextmanager
def own_settings() -> Iterator[None]:
    """A context in which Keras, imported inside it, finds no keras.json and no variables but those of this project."""
    gallery = _GalleryWhenUsed()
    with without("KERAS_"):
        os.environ.update(KERAS_BACKEND=BACKEND, KERAS_HOME=NOWHERE)
        sys.meta_path.insert(0, gallery)
        try:
            yield
        finally:
            sys.meta_path.remove(gallery)
            del os.environ["KERAS_HOME"]
    os.environ["KERAS_BACKEND"] = BACKEND
    _restore_home()


def check_settings(keras: Any) -> None:
    """Sets what Keras, imported perhaps before this project by a notebook, has otherwise.

    Raises:
      UserError: it runs on another backend, which cannot be changed any more.
    """
    if keras.backend.backend() != BACKEND:
        raise UserError(
            f"Keras was imported on the backend {keras.backend.backend()} before this project; import alexnet_tf "
            f"first, or set KERAS_BACKEND={BACKEND} in the environment"
        )
    keras.backend.set_floatx(FLOATX)
    keras.backend.set_image_data_format(DATA_FORMAT)
    keras.backend.set_epsilon(EPSILON)
    if keras.mixed_precision.global_policy().name != FLOATX:  # it was made when floatx was another
        keras.mixed_precision.set_global_policy(FLOATX)


class _GalleryWhenUsed(importlib.abc.MetaPathFinder):
    """Has `GALLERY` loaded by whoever first uses it: that takes a tenth of the time that TensorFlow needs to load."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in GALLERY else None
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def _restore_home() -> None:
    """Lets Keras 3, which remembers it, put downloads where the user expects them. Keras 2 asks every time."""
    config = sys.modules.get("keras.src.backend.config")
    if getattr(config, "_KERAS_DIR", None) == NOWHERE:
        home = os.environ.get("KERAS_HOME", os.path.join(os.path.expanduser("~"), ".keras"))
        config._KERAS_DIR = home  # type: ignore[union-attr]
