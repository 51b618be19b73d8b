"""The typed settings of a run: a YAML file, `section.key=value` overrides, and the preset's values for the rest.

No TensorFlow here, so a wrong key is reported in well under a second.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.text_files import read_text
from alexnet_tf.settings.network_checks import check_choices, check_crop, check_layers, check_stored_features
from alexnet_tf.settings.plain_yaml import NOTHING, load_yaml
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Augmentation, Preset, Recipe
from alexnet_tf.settings.sections import (
    AugmentConfig,
    DataConfig,
    DevicesConfig,
    DistributeConfig,
    ModelConfig,
    TrainConfig,
)
from alexnet_tf.settings.values import Section, Strict, kinds_of, number

SHOWN = 60
"""Letters of an override that a message repeats."""


class Config(Strict):
    """A whole experiment."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    devices: DevicesConfig = DevicesConfig()
    distribute: DistributeConfig = DistributeConfig()

    @property
    def preset(self) -> Preset:
        """The preset with this config's overrides, its rate scaled to the batch."""
        base = PRESETS[self.model.preset]
        recipe = Recipe(**_with_overrides(base.train, self.train))
        network = replace(base.network, **(self.model.model_extra or {}))
        augment = Augmentation(**_with_overrides(base.augment, self.augment))
        return Preset(
            network=network,
            augment=replace(augment, crop_size=network.image_size),
            train=replace(recipe, learning_rate=recipe.learning_rate * self.rate_scale),
        )

    @property
    def rate_scale(self) -> float:
        """What the batch's size multiplies every rate with, after the warm-up."""
        scaled = self.distribute.rate_scaling == "linear"
        return self.data.batch_size / self.distribute.base_batch_size if scaled else 1.0


def load_config(path: AnyPath, overrides: list[str] | None = None) -> Config:
    """Reads a YAML config and applies `section.key=value` overrides, the value of a list or table written as in YAML.

    Raises:
      UserError: the file is missing or no YAML, a key is unknown or a value has the wrong type; names it.
    """
    path = Path(path)
    try:
        text = read_text(path, "config")
    except FileNotFoundError as fault:
        raise cannot_be_read(f"config {path}", fault) from fault
    return parse_config(text, str(path), overrides)


def parse_config(text: str, source: str, overrides: list[str] | None = None) -> Config:
    """As `load_config`, from the YAML text itself; `source` names it in messages."""
    try:
        return _parsed(text, source, overrides or [])
    except UserError as fault:
        told = str(fault)
        blamed = [one for one in overrides or [] if re.search(rf"(?<![\w.]){re.escape(one.split('=')[0])}(?!\w)", told)]
        if not blamed or not told.startswith(f"{source}: "):
            raise
        # Else a sound file would be blamed for what the command line sets.
        given = " ".join(map(_shown, blamed))
        raise UserError(f"{source} with {given}: {told.removeprefix(f'{source}: ')}") from fault


def _parsed(text: str, source: str, overrides: list[str]) -> Config:
    tree = load_yaml(text, source)
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        kind = "list" if isinstance(tree, list) else "text"
        raise UserError(f"{source} must hold sections ({', '.join(Config.model_fields)}), not a {kind}")
    for override in overrides:
        _apply_override(tree, override)
    try:
        config = Config.model_validate(_with_numbers(tree))
    except ValidationError as fault:
        raise UserError(f"{source}: {_first_fault(fault)}") from fault
    _check_together(config, source)
    return config


def _check_together(config: Config, source: str) -> None:
    """Refuses fields that do not fit together."""
    name, train = config.model.preset, config.train
    check_choices(config.model.model_extra or {}, PRESETS[name].network, source)
    network = config.preset.network
    for field in ("freeze", "layer_drops", "rate_multipliers"):
        check_layers(f"train.{field}", getattr(train, field) or (), network, name, source)
    if set(config.preset.train.freeze) == set(network.layers):
        raise UserError(f"{source}: train.freeze: holds every layer, so nothing would be trained; leave one out")
    check_crop(config.preset, name, source)
    check_workers(config, source)
    if train.cache_features:
        check_stored_features(config.preset, source)


def check_workers(config: Config, source: str) -> None:
    """Refuses a list of workers that cannot train together; `source` names where it comes from.

    Raises:
      UserError: names what is wrong.
    """
    workers, batch = config.distribute.workers, config.data.batch_size
    twice = [worker for worker in workers if workers.count(worker) > 1]
    if twice:
        raise UserError(
            f"{source}: distribute.workers: {twice[0]} is listed twice; each worker needs a port of its own"
        )
    beyond = [worker for worker in workers if int(worker.rpartition(":")[2]) >= 2**16]
    if beyond:
        port = beyond[0].rpartition(":")[2]
        raise UserError(f"{source}: distribute.workers: port {port} of {beyond[0]} is above 65535")
    _check_watch_port(config, source)
    if config.distribute.index is not None and config.distribute.index >= max(1, len(workers)):
        raise UserError(f"{source}: distribute.index: {out_of_range(config.distribute.index, len(workers))}")
    if workers and batch % len(workers):
        raise UserError(
            f"{source}: data.batch_size: {batch} images cannot be shared equally by {len(workers)} workers; take a "
            "multiple of their number"
        )
    if len(workers) > 1 and config.train.cache_features:
        raise UserError(f"{source}: train.cache_features: is for one process; leave distribute.workers empty")


def out_of_range(index: int, workers: int) -> str:
    """What is wrong with a worker's index, in words."""
    if not workers:
        return f"index {index} is out of range: a run without distribute.workers has index 0 only"
    last = "and" if workers == 2 else "to"
    return f"index {index} is out of range: {workers} workers have indices 0 {last} {workers - 1}"


def _check_watch_port(config: Config, source: str) -> None:
    workers, port = config.distribute.workers, config.distribute.watch_port
    if len(workers) < 2:
        return
    if port is None and any(worker.endswith(":65535") for worker in workers):
        raise UserError(
            f"{source}: distribute.workers: the port after 65535, the highest one listed, would be the watch's; list a "
            "lower one or name a free port in distribute.watch_port"
        )
    host = workers[0].rpartition(":")[0]
    if f"{host}:{port}" in workers:
        raise UserError(
            f"{source}: distribute.watch_port: {port} is the port of {host}:{port}, a worker; name another one"
        )


def by_name(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A config's values by section.key, as JSON has them, in place of a dictionary for each section."""
    return {f"{section}.{key}": value for section, fields in sections.items() for key, value in fields.items()}


def in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, by section.key, with the preset's values where a config leaves them to the preset."""
    found, name = dict(settings), settings.get("model.preset")
    if not isinstance(name, str) or name not in PRESETS:  # of another version
        return found
    for section in ("model", "augment", "train"):
        for key, value in PRESETS[name].decided(section).items():
            if found.get(f"{section}.{key}") is None and (section == "model" or f"{section}.{key}" in found):
                found[f"{section}.{key}"] = value
    return found


def dump_config(config: Config) -> str:
    """The config as YAML that `parse_config` reads back to an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _shown(override: str) -> str:
    short = override if len(override) <= SHOWN else f"{override[:SHOWN]}..."
    return short if short.isprintable() else repr(short)


def _apply_override(tree: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise UserError(f"override {override[:SHOWN]!r} must read section.key=value, as in data.batch_size=64")
    if not isinstance(tree.setdefault(section, {}), dict):
        tree[section] = {}  # `section:` with nothing under it
    if not _is_text(section, key):
        tree[section][key] = load_yaml(value, f"override {override[:SHOWN]!r}")
    elif value in NOTHING and (value != "~" or (section, key) != ("data", "dir")):
        tree[section][key] = None  # `~` alone is the home folder where a folder must be named
    else:
        tree[section][key] = value  # as it stands, whatever it might mean in YAML


def _is_text(section: str, key: str) -> bool:
    """Whether a field is a path or a text, which is taken as it stands."""
    fields = _fields_of(section)
    return key in fields and bool({Path, str} & kinds_of(fields[key].annotation))


def _with_numbers(tree: dict[str, Any]) -> dict[str, Any]:
    """The same with numbers and Booleans in place of texts, except in fields that are texts."""
    found: dict[str, Any] = {}
    for section, fields in tree.items():
        if isinstance(fields, dict):
            found[section] = {key: v if _is_text(section, key) else number(v) for key, v in fields.items()}
        else:
            found[section] = number(fields)
    return found


LIST, TABLE = "Input should be a list, as in [1, 2]", "Input should be a table, as in {a: 1}"
IN_OUR_WORDS = {"path_type": "a path is missing", "tuple_type": LIST, "dict_type": TABLE, "model_type": TABLE}
"""Where pydantic's own words name Python's classes."""


def _first_fault(fault: ValidationError) -> str:
    first = fault.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"unknown key {field}; known here: {', '.join(_known_keys(first['loc']))}"
    given = repr(first["input"])
    wrong = IN_OUR_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{field}: {wrong}, got {given if len(given) <= 200 else given[:200] + ' ...'}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    return list(_fields_of(str(location[0])) if len(location) > 1 else Config.model_fields)


def _fields_of(section: str) -> dict[str, FieldInfo]:
    if section not in Config.model_fields:
        return {}
    kind = Config.model_fields[section].annotation
    assert isinstance(kind, type) and issubclass(kind, BaseModel)
    return kind.model_fields


def _with_overrides(base: Augmentation | Recipe, overrides: Section) -> dict[str, Any]:
    return {
        name: value if (value := getattr(overrides, name, None)) is not None else getattr(base, name)
        for name in base.__dataclass_fields__
    }
