"""What a config may say of its preset's network: its choices, its layers, and the pictures that it takes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import NetworkSettings, Preset
from tfrecords.manifest import Manifest


def check_choices(chosen: Mapping[str, Any], network: NetworkSettings, source: str) -> None:
    """Refuses keys of section `model` that the network does not know, and values that it cannot have.

    Raises:
      UserError: names the key.
    """
    kinds = get_type_hints(type(network), include_extras=True)
    for key, value in chosen.items():
        if key not in network.choices:
            others = ", ".join(name for name, preset in PRESETS.items() if key in preset.network.choices)
            wrong = f"model.{key} is a choice of preset {others} only" if others else f"unknown key model.{key}"
            raise UserError(f"{source}: {wrong}; known here: {', '.join(('preset', *network.choices))}")
        try:
            TypeAdapter(kinds[key]).validate_python(value, strict=True)  # true is no number
        except ValidationError as fault:
            raise UserError(f"{source}: model.{key}: {fault.errors()[0]['msg']}, got {value!r}") from fault


def check_layers(field: str, layers: Iterable[str], network: NetworkSettings, preset: str, source: str) -> None:
    """Refuses layers that the network does not have.

    Raises:
      UserError: names the field and the layer.
    """
    for layer in layers:
        if layer not in network.layers:
            raise UserError(
                f"{source}: {field}: model.preset={preset} has no layer {layer}; its layers are "
                f"{', '.join(network.layers)}"
            )


def check_crop(preset: Preset, name: str, source: str) -> None:
    """Refuses crops that reach beyond the stored pictures and their padding.

    Raises:
      UserError: names the field.
    """
    network, augment = preset.network, preset.augment
    padded = network.stored_size + 2 * augment.padding
    most = padded - augment.crop_size
    if augment.max_offset > most:
        raise UserError(
            f"{source}: augment.max_offset: preset {name} cuts {augment.crop_size} pixels of {padded}, so "
            f"{most} at most, got {augment.max_offset}"
        )
    if augment.padding and augment.mean == "center":
        raise UserError(
            f"{source}: augment.padding: goes around pictures less their mean, so augment.mean cannot be center; set "
            "per-offset or color"
        )


def check_stored_features(preset: Preset, source: str) -> None:
    """Refuses train.cache_features where there is nothing that stays the same from epoch to epoch.

    Raises:
      UserError: names the field.
    """
    network, augment = preset.network, preset.augment
    if preset.frozen_part is None:
        first = network.feature_layers[0]
        needed = network.layers[: network.layers.index(first) + 1]
        listed = f"{needed[0]} to {first}" if len(needed) > 2 else " and ".join(needed)
        raise UserError(f"{source}: train.cache_features needs {listed} in train.freeze")
    if preset.train.precision != "float32":
        raise UserError(f"{source}: train.cache_features keeps features in float32: leave train.precision at float32")
    if (augment.crop, augment.noise) != ("center", "none"):
        raise UserError(
            f"{source}: train.cache_features keeps one view of each picture: set augment.crop=center and "
            "augment.noise=none"
        )


def check_pictures(data_dir: AnyPath, manifest: Manifest, network: NetworkSettings, preset: str) -> None:
    """Refuses records whose pictures the network does not take.

    Raises:
      UserError: they have another size, or other colors; says how to convert them.
    """
    data_dir = Path(data_dir)
    if manifest.picture_shape == network.stored_shape:
        return
    colors = {1: "gray", 3: "color"}
    size, wanted = f"{manifest.size}x{manifest.size}", f"{network.stored_size}x{network.stored_size}"
    raise UserError(
        f"{data_dir} holds {colors[manifest.channels]} pictures of {size} pixels, model.preset={preset} takes "
        f"{colors[network.channels]} ones of {wanted}; convert them again with --size {network.stored_size} "
        f"--channels {network.channels}"
    )
