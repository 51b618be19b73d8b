"""The signatures of an exported model; each takes N pictures and gives N answers, N from 0.

| signature | input | outputs, N rows each |
|---|---|---|
| serving_default | image_bytes: string (N,) | classes, labels: string (N, 5); scores: float (N, 5); status (N,) |
| probabilities | image_bytes | probabilities: float (N, classes), in label order; status |
| ten_view | image_bytes | as probabilities, the mean over the ten views of the paper's section 4.1 (or fewer) |
| features | image_bytes | features: float (N, F), the outputs of the last feature layer (fc7: F = 4096); status |
| view | image_bytes | png_bytes: string (N,), the crop that the network sees as a PNG file; status |
| feature_maps | image_bytes | layers, png_bytes: string (N, L); shapes: int32 (N, L, 3); status; see `inside.py` |
| grad_cam | image_bytes | class, label: string (N,); score: float (N,); heat: float (N, height, width); status |
| images | images: uint8 (N, height, width, C) | as probabilities |
| float_images | images: float (N, height, width, C), from 0 to 255 | as probabilities |
| classify | inputs: string (N,), tf.Example, the file under `image` | classes: string (N, 5); scores: float (N, 5) |
| network | views: float (N, size, size, C), prepared as evaluation_views does | probabilities: float (N, classes) |

C is the network's number of channels: 3 (red, green and blue) or 1 (gray); files may be in color or gray for either.
status is a string, "ok" or what is wrong with that picture; then its numbers are 0 and its other strings empty.
TensorFlow Serving's Classify form has no room for a status: there the first of `classes` says what is wrong, with a
score of 0. `network`, for engines that know no files, is the bare net: no status, and N from 1.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from alexnet_tf.evaluation.probabilities import view_average
from alexnet_tf.networks.network import Network
from alexnet_tf.pictures.preparation import center_crop, evaluation_views
from alexnet_tf.pictures.resizing import picture_from_pixels
from alexnet_tf.runs.run import Run
from alexnet_tf.serving.inside import inside
from alexnet_tf.serving.picture_files import OK, Map, judge_size, read_files
from tfrecords.exif import Exif
from tfrecords.schema import KEY_IMAGE

TOP = 5
"""How many classes `serving_default` and `classify` name, where the model knows as many."""
CLASSIFY = "classify"
OF_ONE_NET = ("features", "feature_maps", "grad_cam", "network")
"""Signatures that only a single net has."""
NOT_FINITE = "damaged: a pixel is no finite number"

FILES = tf.TensorSpec((None,), tf.string, name="image_bytes")
Outputs = dict[str, tf.Tensor]
Wanted = Callable[[Any], Any]


def _all(outputs: Any) -> Any:
    return outputs


class ServedNet:
    """The signatures of a run's network.

    What several of them share is traced once, for each function in a SavedModel has its own copy of its constants (the
    mean image alone takes 786 KB).
    """

    nets = 1
    """How many networks an answer is the mean of."""

    def __init__(self, model: Network, run: Run, exif: Exif = "ignore") -> None:
        """Prepares the signatures; `exif` tells whether picture files are turned by their EXIF orientation."""
        self.run = run
        self.exif: Exif = exif
        self.model = model
        crop = model.picture_shape
        self.stored_shape = model.settings.stored_shape
        self.views_spec = tf.TensorSpec((None, *crop), tf.float32, name="views")
        self._one_view = tf.function(
            lambda files: self._read(files, self._center_view), input_signature=[FILES], autograph=False
        )
        several = [tf.TensorSpec((None, None, *crop), tf.float32)]
        self._probabilities = tf.function(self._average, input_signature=several, autograph=False)
        self._last_features = tf.function(self._features_of, input_signature=several, autograph=False)
        self._inside = tf.function(
            lambda views: inside(self.model, views[:, 0]), input_signature=several, autograph=False
        )

    def signatures(self) -> dict[str, Any]:
        """tf.functions by signature name, for tf.saved_model.save."""

        def takes(spec: tf.TensorSpec, function: Callable[[tf.Tensor], Outputs]) -> Any:
            # Nothing in it branches on a tensor, and AutoGraph would take half of the time of an export.
            return tf.function(function, input_signature=[spec], autograph=False)

        def pixels(dtype: tf.DType) -> tf.TensorSpec:
            return tf.TensorSpec((None, None, None, self.model.picture_shape[-1]), dtype, name="images")

        return {
            "serving_default": takes(FILES, self._serving_default),
            "probabilities": takes(FILES, lambda files: self._answer(*self._one_view(files))),
            "ten_view": takes(FILES, self._ten_view),
            "features": takes(FILES, self._features),
            "view": takes(FILES, self._view),
            "feature_maps": takes(FILES, self._feature_maps),
            "grad_cam": takes(FILES, self._grad_cam),
            "images": takes(pixels(tf.uint8), self._images),
            "float_images": takes(pixels(tf.float32), self._images),
            CLASSIFY: takes(tf.TensorSpec((None,), tf.string, name="inputs"), self._classify),
            "network": takes(self.views_spec, lambda views: {"probabilities": self._probabilities(views[:, None])}),
        }

    def _serving_default(self, files: tf.Tensor) -> Outputs:
        answer = self._answer(*self._one_view(files))
        ok = answer["status"] == OK
        scores, labels = self._top(answer["probabilities"])
        return {
            "classes": self._names(self.run.classes.names, labels, ok),
            "labels": self._names(self.run.classes.keys, labels, ok),
            "scores": scores,
            "status": answer["status"],
        }

    def _ten_view(self, files: tf.Tensor) -> Outputs:
        return self._answer(*self._read(files, lambda picture: self._views(picture, 10)))

    def _features(self, files: tf.Tensor) -> Outputs:
        views, status = self._one_view(files)
        return {"features": _of_good(views, status, self._last_features), "status": status}

    def _view(self, files: tf.Tensor) -> Outputs:
        def center(picture: tf.Tensor) -> tf.Tensor:
            return tf.io.encode_png(tf.cast(center_crop(picture, self.model.picture_shape[0]), tf.uint8))

        png, status = self._read(files, center)
        return {"png_bytes": png, "status": status}

    def _feature_maps(self, files: tf.Tensor) -> Outputs:
        return self._seen_inside(files, "layers", "shapes", "png_bytes")

    def _grad_cam(self, files: tf.Tensor) -> Outputs:
        seen = self._seen_inside(files, "label", "score", "heat")
        labels, ok = seen["label"][:, None], seen["status"] == OK
        named = {"class": self.run.classes.names, "label": self.run.classes.keys}
        return {**seen, **{key: self._names(names, labels, ok)[:, 0] for key, names in named.items()}}

    def _seen_inside(self, files: tf.Tensor, *wanted: str) -> Outputs:
        views, status = self._one_view(files)
        found = _of_good(views, status, self._inside, lambda outputs: {name: outputs[name] for name in wanted})
        return {**found, "status": status}

    def _images(self, images: tf.Tensor) -> Outputs:
        """Pixels instead of files. All pictures of a request have one size, so all of them are too large or none."""
        images = tf.cast(images, tf.float32)
        count = tf.shape(images)[0]
        size_status = judge_size(tf.shape(images)[1], tf.shape(images)[2])
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])  # (N,)
        status = tf.where(finite, size_status, NOT_FINITE)

        def prepare(picture: tf.Tensor) -> tf.Tensor:
            readable = tf.where(tf.math.is_finite(picture), picture, 0.0)
            return self._center_view(picture_from_pixels(readable, self.stored_shape))

        crop = self.views_spec.shape[1:]
        views = tf.cond(
            size_status == OK,
            lambda: tf.map_fn(prepare, images, fn_output_signature=tf.TensorSpec((self.nets, *crop), tf.float32)),
            lambda: tf.zeros((count, self.nets, *crop)),
        )
        return self._answer(views, status)

    def _classify(self, examples: tf.Tensor) -> Outputs:
        def file_of(example: tf.Tensor) -> tf.Tensor:
            feature = tf.io.FixedLenFeature((), tf.string, default_value="")
            return tf.io.parse_single_example(example, {KEY_IMAGE: feature})[KEY_IMAGE]

        answer = self._answer(*self._read(examples, self._center_view, file_of))
        status = answer["status"]
        scores, labels = self._top(answer["probabilities"])
        names = self._names(self.run.classes.names, labels, status == OK)
        first = tf.where(status == OK, names[:, 0], status)
        return {"classes": tf.concat([first[:, None], names[:, 1:]], axis=1), "scores": scores}

    def _read(self, files: tf.Tensor, prepare: Map, unpack: Map = tf.identity) -> tuple[tf.Tensor, tf.Tensor]:
        return read_files(files, self.stored_shape, prepare, unpack, self.exif)

    def _answer(self, views: tf.Tensor, status: tf.Tensor) -> Outputs:
        return {"probabilities": _of_good(views, status, self._probabilities), "status": status}

    def _average(self, views: tf.Tensor) -> tf.Tensor:
        """Views of N pictures, (N, views, size, size, 3), to probabilities (N, classes)."""
        return view_average(self.model, views)

    def _features_of(self, views: tf.Tensor) -> tf.Tensor:
        """Views of N pictures, of which the first counts, to features (N, F)."""
        features = self.model.features(views[:, 0], self.model.settings.feature_layers[-1])
        return self.model.concatenate_features(features)

    def _views(self, picture: tf.Tensor, views: int) -> tf.Tensor:
        return evaluation_views(picture, views, self.run.config.preset.augment, self.run.statistics)

    def _center_view(self, picture: tf.Tensor) -> tf.Tensor:
        return self._views(picture, 1)

    def _top(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.math.top_k(probabilities, min(TOP, self.run.num_classes))

    def _names(self, names: list[str], labels: tf.Tensor, ok: tf.Tensor) -> tf.Tensor:
        return tf.where(ok[:, None], tf.gather(tf.constant(names), labels), "")


class ServedEnsemble(ServedNet):
    """Several nets that answer as one, with the mean of their probabilities (paper section 6.1, table 2).

    Every net sees the picture prepared in its own way, so the views of the nets are concatenated. It has all signatures
    but those of OF_ONE_NET.

    Args:
      members: nets of the same classes, with crops of one size and one way with EXIF orientation.
    """

    def __init__(self, members: list[ServedNet]) -> None:
        self.members = members
        self.nets = len(members)
        super().__init__(members[0].model, members[0].run, members[0].exif)

    def signatures(self) -> dict[str, Any]:
        """tf.functions by signature name, for tf.saved_model.save."""
        return {name: what for name, what in super().signatures().items() if name not in OF_ONE_NET}

    def _views(self, picture: tf.Tensor, views: int) -> tf.Tensor:
        return tf.concat([member._views(picture, views) for member in self.members], axis=0)

    def _average(self, views: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(views, (tf.shape(views)[0], self.nets, -1, *views.shape[2:]))
        answers = [member._average(own[:, number]) for number, member in enumerate(self.members)]
        return tf.add_n(answers) / self.nets


def _of_good(views: tf.Tensor, status: tf.Tensor, network: Any, wanted: Wanted = _all) -> Any:
    """Runs a network on the good pictures of a batch alone, and not at all where there are none.

    Refused pictures would otherwise cost as much as good ones, though a few bytes are enough for one.

    Args:
      views: (N, views, size, size, 3), of the others whatever they are.
      status: of each picture, string (N,).
      network: a tf.function of one input signature, from views of M pictures to tensors of M rows.
      wanted: takes of its outputs those that are asked for.

    Returns:
      What it says of the good ones, zeros and empty strings for the others, in N rows.
    """
    good = tf.where(status == OK)
    like = wanted(network.get_concrete_function().structured_outputs)
    numbers = tf.cond(
        tf.size(good) > 0,
        lambda: wanted(network(tf.gather(views, good[:, 0]))),
        lambda: tf.nest.map_structure(lambda one: tf.zeros((0, *one.shape[1:]), one.dtype), like),
    )

    def in_place(rows: tf.Tensor, one: Any) -> tf.Tensor:
        row = one.shape[1:]
        return tf.ensure_shape(tf.scatter_nd(good, rows, [tf.size(status, tf.int64), *row]), (None, *row))

    return tf.nest.map_structure(in_place, numbers, like)
