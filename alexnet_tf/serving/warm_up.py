"""Warm-up requests: TensorFlow Serving replays them before a version takes over, so that no user waits for first runs.

They lie in `assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog messages (TensorFlow Serving's
docs, "SavedModel Warmup").
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from alexnet_tf.serving.signatures import CLASSIFY
from alexnet_tf.serving.versions import WARM_UP_FILE
from tfrecords.schema import KEY_IMAGE

BATCH_SIZES = (1, 8, 32)
"""Of `serving_default`, which most requests use; the others are warmed up with one picture."""
PICTURE_SIZE = (375, 500)
"""Height and width of the usual ImageNet picture."""


def write_warm_up(folder: Path, model_name: str, signatures: Collection[str]) -> None:
    """Writes the requests of `warm_up_requests` into the folder of a version with these signatures."""
    with tf.io.TFRecordWriter(str(folder / WARM_UP_FILE)) as writer:
        for request in warm_up_requests(model_name, signatures):
            writer.write(request.SerializeToString(deterministic=True))


def read_warm_up(folder: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """The requests in a version's folder; none where it has no such file."""
    if (folder / WARM_UP_FILE).exists():
        for record in tf.data.TFRecordDataset(str(folder / WARM_UP_FILE)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)


def warm_up_requests(model_name: str, signatures: Collection[str]) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Requests for every signature that takes files, in the sizes of TensorFlow Serving's batches."""
    blots = np.random.default_rng(0).integers(0, 256, (12, 16, 3))
    picture = tf.cast(tf.image.resize(blots, PICTURE_SIZE), tf.uint8)
    file = tf.io.encode_jpeg(picture, quality=75).numpy()
    for size in BATCH_SIZES:
        yield _predict_log(model_name, "serving_default", [file] * size)
    for signature in [name for name in ("probabilities", "ten_view", "features", "view") if name in signatures]:
        yield _predict_log(model_name, signature, [file])
    yield _classify_log(model_name, file)


def _predict_log(model_name: str, signature: str, files: list[bytes]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files, tf.string))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def _classify_log(model_name: str, file: bytes) -> prediction_log_pb2.PredictionLog:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = CLASSIFY
    example = request.input.example_list.examples.add()
    example.features.feature[KEY_IMAGE].bytes_list.value.append(file)
    return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))
