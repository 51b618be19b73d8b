"""Every setting of a run: its value in force, where that comes from, its default, its meaning. No TensorFlow here."""

import ast
import functools
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from alexnet_tf.settings.config import Config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Preset

WIDTH = 110
"""Characters in a line of what is printed."""
MEANINGS = {
    "model.preset": "The network and its recipe; the sections augment and train change single parts of it.",
    "data.dir": "The folder of converted pictures, as tfrecords.convert makes it.",
    "data.eval_batch_size": "Pictures that are evaluated at once; it changes memory and speed only.",
    "augment.noise_stddev": "The standard deviation of the a_i that augment.noise draws.",
    "train.epochs": "Passes over the training pictures.",
    "train.seed": "Of the initial weights, the order of the pictures, crops, color noise and dropout.",
    "train.learning_rate": "The weights' rate before any drop, for the batch that the recipe is meant for.",
    "train.momentum": "The share of a step's velocity that the next step keeps.",
    "train.weight_decay": "How strongly weights are drawn to 0, as a factor beside the learning rate.",
    "train.decay_biases": "Whether biases decay like weights.",
    "train.schedule": "What lowers the rate: epochs without a new best validation error, or a list of epochs.",
    "train.drop_factor": "What a drop multiplies the rate with.",
    "train.max_drops": "How often the schedule lowers the rate at most.",
    "devices.towers": "Where the two towers live; auto takes two GPUs, else one, else two parts of the processor.",
}
"""Of fields whose own text in sections.py or recipe.py, if any, does not say it."""


@dataclass(frozen=True)
class Setting:
    """One field of a config.

    Attributes:
      name: section.key.
      value: in force, as JSON has it: the preset's, where the config leaves it to that.
      origin: where the value comes from: "command line", "config FILE", "preset NAME", "TF_CONFIG", "devices.tune" or
        "default".
      default: the value that it has where nobody sets it.
      meaning: one or two sentences, with the values that there are to choose from.
    """

    name: str
    value: Any
    origin: str
    default: Any
    meaning: str


def settings_in_force(given: Config, config: Config, source: str, overrides: list[str]) -> list[Setting]:
    """Every field of a config, in its order.

    Args:
      given: as it was read.
      config: in force, with what TF_CONFIG or `devices.tune` may have changed.
      source: the file that it was read from.
      overrides: of the command line, `section.key=value`.
    """
    return list(_settings(given, config, source, {override.partition("=")[0] for override in overrides}))


def _settings(given: Config, config: Config, source: str, overridden: set[str]) -> Iterator[Setting]:
    preset = config.model.preset
    in_force, read, defaults = (each.model_dump(mode="json") for each in (config, given, Config()))
    for section, fields in in_force.items():
        of_preset = PRESETS[preset].decided(section)
        set_here = getattr(given, section).model_fields_set
        for key in (*fields, *(key for key in of_preset if section == "model" and key not in fields)):
            name, value = f"{section}.{key}", fields.get(key)
            left_to_preset = defaults[section].get(key) is None and key in of_preset
            default = of_preset[key] if left_to_preset else defaults[section].get(key)
            if value != read[section].get(key):
                origin = "devices.tune" if section == "devices" else "TF_CONFIG"
            elif key in set_here and value is not None:
                origin = "command line" if name in overridden else f"config {_printable(source)}"
            else:
                origin, value = (f"preset {preset}", default) if left_to_preset else ("default", value)
            yield Setting(name, value, origin, default, _meaning(section, key, PRESETS[preset]))


def _meaning(section: str, key: str, preset: Preset) -> str:
    kind = Config.model_fields[section].annotation
    assert kind is not None
    of_preset = type({"model": preset.network, "augment": preset.augment}.get(section, preset.train))
    meaning = MEANINGS.get(f"{section}.{key}") or _text_under(kind, key) or _text_under(of_preset, key)
    assert meaning is not None, f"{section}.{key} has no text in {kind.__name__} or {of_preset.__name__}"
    annotation = kind.model_fields[key].annotation if key in kind.model_fields else get_type_hints(of_preset)[key]
    choices = tuple(PRESETS) if (section, key) == ("model", "preset") else _choices(annotation)
    return meaning.replace("None:", "null:") + (f" One of {', '.join(map(str, choices))}." if choices else "")


def as_table(settings: list[Setting]) -> str:
    """Three lines or more a setting: name and value; origin and default; meaning."""
    lines = []
    for setting in settings:
        default = "" if setting.origin == "default" else f"; default {_text(setting.default)}"
        lines.append(f"{setting.name} = {_text(setting.value)}    ({setting.origin}{default})")
        lines += textwrap.wrap(setting.meaning, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def by_origin(settings: list[Setting]) -> list[str]:
    """A paragraph for each origin, with the values that come from there; those that mean "none" are left out."""
    origins: dict[str, list[str]] = {}
    for setting in settings:
        if setting.value not in (None, [], {}):
            origins.setdefault(setting.origin, []).append(f"{setting.name}={_text(setting.value)}")
    order = sorted(origins, key=lambda origin: (origin == "default", origin.startswith("preset"), origin))
    return [
        textwrap.fill(
            f"{origin}: {', '.join(origins[origin])}", WIDTH,
            subsequent_indent="  ", break_long_words=False, break_on_hyphens=False,
        )
        for origin in order
    ]  # fmt: skip


def as_yaml(settings: list[Setting]) -> str:
    """A config that holds every value in force, with its origin beside it."""
    lines = [
        "# Every setting as it is in force, with those that the preset decides, and where its value comes from.",
        "# For people to read, and to begin another run with; the run itself goes by config.yaml.",
    ]
    section = ""
    for setting in settings:
        own, _, key = setting.name.partition(".")
        if own != section:
            section = own
            lines.append(f"{section}:")
        lines.append(f"  {key}: {_in_yaml(setting.value)}  # {setting.origin}")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _in_yaml(value: Any) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    written = written.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value) if "\n" in written else written


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a field that is one of a few texts; none for any other field."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (tuple, dict):
        return ()
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _text_under(kind: Any, field: str) -> str | None:
    """The text under a field of a class, or of a dataclass that it is derived from."""
    for cls in (kind, *filter(is_dataclass, kind.__mro__)):
        module = inspect.getmodule(cls)
        if module and (text := _texts(module).get((cls.__name__, field))):
            return text
    return None


@functools.cache
def _texts(module: ModuleType) -> dict[tuple[str, str], str]:
    """The text under each field of a module's classes, by the names of both. Python itself throws these texts away."""
    found = {}
    for kind in ast.parse(inspect.getsource(module)).body:
        if not isinstance(kind, ast.ClassDef):
            continue
        for field, below in zip(kind.body, kind.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[kind.name, name] = " ".join(text.split())
    return found
