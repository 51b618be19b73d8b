"""The chapters on the network itself: its filters, what it makes of single pictures, and where its parts are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.evaluation.activations import convolution_outputs, convolutions, grad_cam, kernels
from alexnet_tf.evaluation.ensemble import Pictures
from alexnet_tf.networks.network import Network, network_variables
from alexnet_tf.pictures.input_pipeline import StoredPicture
from alexnet_tf.pictures.preparation import center_crop, crop_offsets, evaluation_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.reporting.answers import nearest_training_pictures
from alexnet_tf.reporting.files import Chapter, ReportFiles
from alexnet_tf.reporting.network_figures import (
    RANDOM_SHARE,
    color_share,
    feature_maps_figure,
    filters_figure,
    grad_cam_figure,
)
from alexnet_tf.reporting.picture_figures import neighbors_figure, readable, top5_figure, views_figure
from alexnet_tf.reporting.placement_figure import placement_figure
from alexnet_tf.runs.run import Run
from alexnet_tf.towers import Towers
from alexnet_tf.training.placement_report import measure_placement, report_dict, report_lines
from alexnet_tf.training.step import TrainingStep

NEIGHBORS = 6
"""As in the paper's Figure 4."""
QUERIES = 5
"""The same."""
CAMS = 6


def filters_chapter(model: Network, files: ReportFiles, numbers: dict[str, Any]) -> Chapter:
    """The paper's Figure 3, and how much color each tower took on.

    Raises:
      UserError: the network does not begin with a convolution of pictures.
    """
    first = next(iter(convolutions(model)), "")
    own = kernels(model, first) if first else []
    if not own or own[0].ndim != 4 or own[0].shape[2] != model.picture_shape[2]:
        raise UserError(f"network {model.name} does not begin with a convolution of pictures")
    figure = files.figure(
        "filters", f"Each filter of {first} by itself, from its lowest value (black) to its highest; 0 is gray.",
        lambda: filters_figure(own, first),
    )  # fmt: skip
    if own[0].shape[2] == 1:
        return Chapter("First filters", ["The pictures are gray, so there is no color to see."], [figure])
    shares = {tower: color_share(one) for tower, one in zip("ab", own, strict=False)}
    numbers["color_share"] = shares
    rows = [
        [tower, number, color_share(one[..., number : number + 1])]
        for tower, one in zip("ab", own, strict=False)
        for number in range(one.shape[3])
    ]
    told = " and ".join(f"{share:.0%} in tower {tower}" for tower, share in shares.items())
    paragraphs = [
        f"Color share: {told}. It is the part of the filters' sum of squares that is gone once each of their pixels is "
        f"made gray: 0 % sees no color, random weights have {RANDOM_SHARE:.0%}. The paper found one tower "
        "color-agnostic and the other color-specific (its Figure 3)."
    ]
    return Chapter(
        "First filters", paragraphs, [figure], files=[files.table("filters", ("tower", "filter", "share"), rows)]
    )


def answers_chapter(
    pictures: Sequence[StoredPicture], probabilities: np.ndarray, names: Sequence[str], files: ReportFiles
) -> Chapter:
    """The paper's Figure 4, left."""
    figure = files.figure(
        "answers", "The five most probable classes of a picture; its own class is above it and in green.",
        lambda: top5_figure(pictures, probabilities, names),
    )  # fmt: skip
    text = "The pictures are the first ones of classes evenly spread over all: nobody chose them for their answers."
    return Chapter("Answers", [text], [figure])


def neighbors_chapter(
    run: Run, model: Network, data: Pictures, pictures: Sequence[StoredPicture], searched: int, files: ReportFiles
) -> Chapter:
    """The paper's Figure 4, right.

    Raises:
      UserError: the training pictures are missing or damaged.
    """
    queries = list(pictures[:QUERIES])
    found = nearest_training_pictures(run, model, data, queries, NEIGHBORS, searched)
    flat = data.at(found.places.ravel(), "train")
    per_query = found.places.shape[1]
    nearest = [flat[start : start + per_query] for start in range(0, len(flat), per_query)]
    layer = model.settings.feature_layers[-1]
    names = run.classes.names
    figure = files.figure(
        "neighbors", f"A picture, and at its right the training pictures nearest by {layer}; green: of its class.",
        lambda: neighbors_figure(queries, nearest, found.distances, names),
    )  # fmt: skip
    rows = [
        [readable(query.file_name), names[query.label], rank, readable(other.file_name), names[other.label], distance]
        for query, others, distances in zip(queries, nearest, found.distances, strict=True)
        for rank, (other, distance) in enumerate(zip(others, distances, strict=True), 1)
    ]
    header = ("file", "class", "rank", "neighbor", "class_of_neighbor", "distance")
    records = data.manifest.splits["train"].records
    text = (
        f"The first {len(queries)} of the pictures above, with the Euclidean distance (beneath the class) between what "
        f"{layer} puts out, among {found.added:,} of {records:,} training pictures."
    )
    return Chapter("Nearest training pictures", [text], [figure], files=[files.table("neighbors", header, rows)])


def maps_chapter(run: Run, model: Network, picture: StoredPicture, files: ReportFiles) -> Chapter:
    """What each convolution puts out."""
    outputs, _ = convolution_outputs(model, _center_views(run, [picture]))
    maps = {layer: [of_tower[0].numpy() for of_tower in of_towers] for layer, of_towers in outputs.items()}
    figure = files.figure(
        "feature_maps", "Of each convolution the maps that vary most over a picture, from dark (low) to bright (high).",
        lambda: feature_maps_figure(maps),
    )  # fmt: skip
    text = f"Of picture {readable(picture.file_name)}, {run.classes.names[picture.label]}."
    return Chapter("Feature maps", [text], [figure])


def grad_cam_chapter(run: Run, model: Network, pictures: Sequence[StoredPicture], files: ReportFiles) -> Chapter:
    """Which places speak for the class that is named."""
    shown = list(pictures[:CAMS])
    images = _center_views(run, shown)
    heat, labels = grad_cam(model, images)
    probabilities = tf.nn.softmax(model(images)).numpy()[np.arange(len(shown)), labels]
    size = model.picture_shape[0]
    crops = np.stack([center_crop(picture.pixels, size) for picture in shown])
    figure = files.figure(
        "grad_cam", "Above what the network sees, with its class; below what speaks for the class that it names.",
        lambda: grad_cam_figure(shown, crops, heat, labels, probabilities, run.classes.names),
    )  # fmt: skip
    layer = f"{heat.shape[1]}×{heat.shape[2]}"
    text = (
        f"Grad-CAM (Selvaraju et al., 2017) on the {layer} maps of the last convolution. Red is the strongest place of "
        "each picture by itself; green and red names are right and wrong. "
        "Where nothing is colored, no place speaks for the class."
    )
    return Chapter("Where it looks", [text], [figure])


def views_chapter(run: Run, model: Network, picture: StoredPicture, files: ReportFiles) -> Chapter:
    """What the ten views of evaluation see of a picture."""
    augment, size = run.config.preset.augment, model.picture_shape[0]
    views = evaluation_views(tf.constant(picture.pixels), 10, augment, run.statistics)  # (views, size, size, channels)
    probabilities = tf.nn.softmax(model(views)).numpy()
    offsets = crop_offsets(10, picture.pixels.shape[1], size)
    crops = np.stack([picture.pixels[top : top + size, left : left + size] for top, left in offsets])
    seen = np.concatenate([crops, crops[:, :, ::-1]]) if len(views) > len(crops) else crops
    names, mean = run.classes.names, probabilities.mean(axis=0)
    figure = files.figure(
        "views", f"The {len(views)} views of one picture and the class that each would name.",
        lambda: views_figure(picture, seen, offsets, probabilities, names),
    )  # fmt: skip
    center = probabilities[len(offsets) - 1]
    text = (
        f"The mean of all views says {names[mean.argmax()]} ({mean.max():.1%}), the center alone "
        f"{names[center.argmax()]} ({center.max():.1%}). The picture is of class {names[picture.label]}."
    )
    return Chapter("Ten views" if len(views) == 10 else "Views", [text], [figure])


def placement_chapter(run: Run, towers: Towers, files: ReportFiles, numbers: dict[str, Any]) -> Chapter:
    """Where the parts of a training step are, measured on this machine."""
    preset = run.config.preset
    on_device = run.statistics if run.config.data.augment_on == "device" else None
    step = TrainingStep(preset, run.num_classes, towers, run.config.train.seed, on_device)
    placement = measure_placement(step)
    numbers["placement"] = report_dict(placement)
    figure = files.figure(
        "placement", "The layers by tower, and what crosses for every picture, both ways together.",
        lambda: placement_figure(placement, network_variables(step.model), preset.network.layers),
    )  # fmt: skip
    header = ("tensor", "kind", "layer", "from", "to", "shape", "bytes")
    rows = (
        [one.tensor, one.kind, one.layer, one.source, one.target, one.shape, one.bytes] for one in placement.crossings
    )
    text = files.write("placement.txt", ("\n".join(report_lines(placement)) + "\n").encode())
    paragraphs = [
        "Read from the graphs that TensorFlow ran for one training step on the machine on which this report was made."
    ]
    return Chapter("Placement", paragraphs, [figure], files=[files.table("placement", header, rows), text])


def _center_views(run: Run, pictures: Sequence[StoredPicture]) -> tf.Tensor:
    """As evaluation shows them to the network, float32 (N, *picture_shape)."""
    pixels = tf.constant(np.stack([picture.pixels for picture in pictures]))
    return evaluation_views(pixels, 1, run.config.preset.augment, run.statistics)[:, 0]
