"""What a report knows of a run's network and of the pictures that it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from alexnet_tf.evaluation.activations import feature_function
from alexnet_tf.evaluation.ensemble import Pictures
from alexnet_tf.evaluation.neighbors import Nearest
from alexnet_tf.evaluation.probabilities import class_probabilities, pictures_at_once, prediction_function
from alexnet_tf.networks.network import Network
from alexnet_tf.pictures.input_pipeline import StoredPicture, evaluation_batches, named_batches
from alexnet_tf.pictures.record_files import RecordBatches
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.progress_lines import progress_bar
from alexnet_tf.runs.run import Run
from tfrecords.manifest import check_shards


@dataclass(frozen=True)
class Answers:
    """What the network makes of a split."""

    probabilities: np.ndarray
    """float64 (images, classes)."""
    labels: np.ndarray
    """int64 (images,)."""
    file_names: list[bytes]


def answers_of(run: Run, model: Network, data: Pictures, views: int) -> Answers:
    """Evaluates every image of the split.

    Raises:
      UserError: as reading it, or the network's output is not finite.
    """
    size = pictures_at_once(run.config, views)
    batches = named_batches(data.data, data.manifest, split=data.split, batch_size=size)
    names: list[bytes] = []
    bar = progress_bar(data.count, desc=data.split)
    forward = prediction_function(model, run.config.preset.augment, run.statistics, views)
    probabilities, labels = class_probabilities(forward, _names_aside(batches, names), bar)
    return Answers(probabilities, labels, names)


def _names_aside(batches: RecordBatches, names: list[bytes]) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    for pictures, of_batch, labels in batches:
        names += of_batch.numpy().tolist()
        yield pictures, labels


def nearest_training_pictures(
    run: Run, model: Network, data: Pictures, queries: list[StoredPicture], most: int, searched: int
) -> Nearest:
    """Of each query the nearest of the first `searched` training pictures, by the last feature layer's outputs.

    A conversion stores pictures in random order, so the first ones are as good as any.

    Raises:
      UserError: the training pictures are missing or damaged.
    """
    if not data.manifest.splits.get("train") or not data.manifest.splits["train"].records:
        raise UserError(f"{data.data} has no training pictures")
    check_shards(data.data, data.manifest, "train")
    layer = model.settings.feature_layers[-1]
    features = feature_function(model, run.config.preset.augment, run.statistics, layer)
    found = Nearest(features(tf.constant(np.stack([query.pixels for query in queries]))).numpy(), most)
    size = run.config.data.eval_batch_size
    total = min(searched, data.manifest.splits["train"].records)
    bar = progress_bar(total, desc="neighbors")
    batches = evaluation_batches(data.data, data.manifest, split="train", batch_size=size)
    for pictures, _ in batches.take(-(-total // size)):
        found.add(features(pictures[: total - found.added]).numpy())
        bar.update(len(pictures))
    bar.close()
    return found
