"""A config that fits converted pictures, with the reason beside each value. No TensorFlow here.

The numbers follow the recipes that were really run (the files of configs/, docs/RESULTS.md) and the 2012 program's: a
batch, a rate in proportion to it, and enough steps, by the number of training pictures.
"""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alexnet_tf.settings.config import Config
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Preset
from tfrecords.manifest import Manifest

DEFAULT_PRESET = "2012-code"
RECIPE_BATCH = 128
"""Images of a step that AlexNet's rates are meant for: paper section 5."""
OWN_BATCHES = {"lenet5": 32, "cifar": 128}
"""Presets whose recipe is for small data as it stands, and the batch that it is meant for."""
LARGE = 500_000
"""Training pictures from which on a recipe's own rate, epochs and schedule fit."""
FEW, SOME = 1_000, 10_000
"""Training pictures below which, with another net's weights, the last layer alone is trained, or the layers behind the
convolutions."""
RARELY_ENOUGH = {"lenet5": 500, "cifar": 500}
"""Training pictures below which a network rarely learns from scratch, by preset."""
RARELY_ENOUGH_ALEXNET = 5_000
"""The same for the others, which have 60 million parameters."""
UNEVEN = 5
"""How many times as many pictures the largest class has as the smallest where they are weighed."""
WIDTH = 110
"""Signs in a line of comment."""


@dataclass(frozen=True)
class Line:
    """A field of the config that is written.

    Attributes:
      name: section.key.
      value: as YAML has it.
      why: the comment above it.
    """

    name: str
    value: Any
    why: str


@dataclass(frozen=True)
class Begun:
    """The run whose weights are begun with.

    Attributes:
      path: its folder.
      config: its config.
      same_classes: whether its classes are those of the pictures.
    """

    path: Path
    config: Config
    same_classes: bool


def fitting_config(data: Path, manifest: Manifest, begun: Begun | None) -> str:
    """The text of a config.

    Args:
      data: the folder of converted pictures.
      manifest: its manifest.
      begun: the run to go on from; None: from scratch.

    Raises:
      UserError: the pictures are of another size or other colors than the network takes.
    """
    name = begun.config.model.preset if begun else preset_for(manifest)
    preset = begun.config.preset if begun else PRESETS[name]
    check_pictures(data, manifest, preset.network, name)
    pictures, per_class = manifest.splits["train"].records, sorted(manifest.splits["train"].class_counts)
    lines = [*_model(name, begun), Line("data.dir", str(data), "the converted pictures")]
    lines += _fine_tuned(preset, pictures, begun) if begun else _from_scratch(name, preset, pictures)
    lines += _weighed(per_class)
    begins = f"begun with the weights of {begun.path}" if begun else "from scratch"
    head = [
        f"{pictures:,} training pictures of {manifest.num_classes} classes, {per_class[0]} to {per_class[-1]} each; "
        f"{begins}. Written by new-config; every value may be changed, and train --show-config explains all there are."
    ]
    if not begun and (doubt := from_scratch_doubt(manifest)):
        head += ["", f"Beware: {doubt}."]
    comment = [line for text in head for line in textwrap.wrap(text, WIDTH) or [""]]
    return "".join(f"# {line}".rstrip() + "\n" for line in comment) + _as_yaml(lines)


def from_scratch_doubt(manifest: Manifest) -> str | None:
    """What is to be told beforehand where the training pictures are too few to begin with random weights."""
    name, pictures = preset_for(manifest), manifest.splits["train"].records
    enough = RARELY_ENOUGH.get(name, RARELY_ENOUGH_ALEXNET)
    if pictures >= enough:
        return None
    return (
        f"{pictures:,} training pictures rarely suffice to train {name} from scratch, {enough:,} sometimes do; begin "
        "with the weights of a run on other pictures, --from RUN (import-weights makes one of published weights)"
    )


def preset_for(manifest: Manifest) -> str:
    """The default preset, or the first that takes such pictures where that does not."""
    fitting = [name for name, preset in PRESETS.items() if preset.network.stored_shape == manifest.picture_shape]
    return fitting[0] if fitting and DEFAULT_PRESET not in fitting else DEFAULT_PRESET


def batch_size(pictures: int) -> int:
    """Images of a step: a power of two near a third of the pictures' root, at least 16, at most the paper's 128.

    So it is 16 for 1,000 pictures and 32 for 10,000, with which configs/demo.yaml and tinyimagenet20.yaml learn.
    """
    near = 2 ** round(math.log2(max(math.sqrt(pictures) / 3, 1)))
    return min(max(near, 16), RECIPE_BATCH)


def _model(name: str, begun: Begun | None) -> Iterator[Line]:
    own = (
        "the 2012 program's network and recipe"
        if name == DEFAULT_PRESET
        else "it takes pictures of this size and color"
    )
    yield Line("model.preset", name, "as the run has it that is begun from" if begun else own)
    for key, value in ((begun and begun.config.model.model_extra) or {}).items():
        yield Line(f"model.{key}", value, "as there")


def _from_scratch(name: str, preset: Preset, pictures: int) -> Iterator[Line]:
    if name in OWN_BATCHES:
        yield Line("data.batch_size", OWN_BATCHES[name], "the batch that the preset's rate and epochs are meant for")
        return
    batch, recipe = batch_size(pictures), preset.train
    yield _batch(batch, pictures)
    yield from _crops(preset, batch)
    if pictures >= LARGE:
        return
    epochs = 60 if pictures >= 50_000 else 30 if pictures >= RARELY_ENOUGH_ALEXNET else 60
    drops = [math.ceil(part * epochs) + 1 for part in (0.7, 0.9)]
    if preset.augment.noise != "none":
        yield Line("augment.noise_until_epoch", drops[0], "color noise ends where the rate drops, as in 2012")
    why = f"{_steps(epochs, pictures, batch)} in all; the fewer pictures there are, the more often each has to be seen"
    yield Line("train.epochs", epochs, why)
    rate = float(f"{recipe.learning_rate * batch / RECIPE_BATCH:.2g}")
    why = f"the recipe's {recipe.learning_rate:g} for {RECIPE_BATCH} images a step, in proportion; where the loss does"
    yield Line("train.learning_rate", rate, f"{why} not fall, try a third of it")
    yield from _schedule(drops, "after 70 % and 90 % of the epochs, to a tenth each time")


def _fine_tuned(preset: Preset, pictures: int, begun: Begun) -> Iterator[Line]:
    network, head, batch = preset.network, preset.network.layers[-1], batch_size(pictures)
    yield _batch(batch, pictures)
    for key in ("mean", "mirror"):
        if (value := getattr(begun.config.augment, key)) is not None:
            yield Line(f"augment.{key}", value, "as the weights were trained with")
    last = network.feature_layers[-1] if pictures < FEW else network.feature_layers[0] if pictures < SOME else None
    if last:
        why = "one view of each picture, so that what the frozen layers put out can be stored"
        yield Line("augment.crop", "center", why)
        yield Line("augment.noise", "none", "for the same reason")
    else:
        yield from _crops(preset, batch)
    fresh = "" if begun.same_classes else f"; {head} starts afresh, for the classes are others"
    yield Line("train.init_from", str(begun.path), f"the weights to begin with{fresh}")
    if last:
        left = (
            f"{head} alone is trained: more would be learned by heart" if pictures < FEW else "as they are, they serve"
        )
        yield Line("train.freeze", list(network.layers[: network.layers.index(last) + 1]), left)
        yield Line("train.cache_features", True, "frozen layers run once, not in each epoch; the result is the same")
    epochs, rate = (40 if pictures < FEW else 20, 0.003) if last else (15, 0.001)
    yield Line("train.epochs", epochs, f"{_steps(epochs, pictures, batch)} in all; much is known already")
    yield Line("train.learning_rate", rate, "lower than from scratch, so that good weights are not spoiled")
    if not begun.same_classes:
        yield Line("train.rate_multipliers", {head: 10}, "it starts afresh, so it has to learn quickly")
    yield from _schedule([math.ceil(0.75 * epochs) + 1], "after three quarters of the epochs, to a tenth")


def _batch(batch: int, pictures: int) -> Line:
    steps = pictures / batch
    many = f"{steps:,.0f} steps an epoch" if steps >= 100 else f"{steps:.3g} steps an epoch"
    if batch == RECIPE_BATCH:
        return Line("data.batch_size", batch, f"the paper's; {many}")
    return Line("data.batch_size", batch, f"{many}; the paper's {RECIPE_BATCH} are for a million pictures")


def _crops(preset: Preset, batch: int) -> Iterator[Line]:
    if preset.augment.images_per_draw > 1 and batch < RECIPE_BATCH:
        why = "each picture gets a crop and a mirroring of its own: one for many would be too few in a small batch"
        yield Line("augment.images_per_draw", 1, why)


def _schedule(drops: list[int], why: str) -> Iterator[Line]:
    yield Line("train.schedule", "epochs", "a few validation pictures could not tell when the rate has to drop")
    yield Line("train.drop_epochs", drops, why)
    yield Line("train.drop_bias_rate", True, "the biases' rate drops with the weights'")


def _weighed(per_class: list[int]) -> Iterator[Line]:
    if per_class[0] and per_class[-1] >= UNEVEN * per_class[0]:
        why = f"the largest class has {per_class[-1] / per_class[0]:.0f} times as many pictures as the smallest"
        yield Line("train.class_weights", "balanced", why)


def _steps(epochs: int, pictures: int, batch: int) -> str:
    return f"{epochs * pictures / batch:,.0f} steps"


def _as_yaml(lines: list[Line]) -> str:
    sections: dict[str, list[str]] = {}
    for line in lines:
        section, _, key = line.name.partition(".")
        value = yaml.safe_dump(line.value, default_flow_style=True, width=math.inf, allow_unicode=True)
        value = value.removesuffix("\n").removesuffix("...").rstrip()  # a bare word ends a document
        fields = sections.setdefault(section, [f"{section}:"])
        fields += [f"  # {comment}" for comment in textwrap.wrap(line.why, WIDTH)]
        fields.append(f"  {key}: {value}")
    return "".join(f"{field}\n" for fields in sections.values() for field in fields)
