"""The typed settings of a run: a YAML file, `section.key=value` overrides, and the preset's values for the rest.

No TensorFlow here, so a wrong key is told in well under a second.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.text_files import read_text
from alexnet_tf.settings.network_checks import check_choices, check_crop, check_layers, check_stored_features
from alexnet_tf.settings.plain_yaml import NOTHING, load_yaml
from alexnet_tf.settings.presets import PRESETS, Augmentation, OptimizerName, Precision, Preset, Recipe
from alexnet_tf.settings.values import (
    Batch,
    Count,
    Epochs,
    Factor,
    FactorsByEpoch,
    NamesOnce,
    NotNegative,
    Section,
    Strict,
    UserPath,
    WorkerAddress,
    kinds_of,
    number,
)  # fmt: skip


def _known_preset(name: str) -> str:
    if name not in PRESETS:
        raise PydanticCustomError("preset", f"Input should be one of {', '.join(PRESETS)}")
    return name


class ModelConfig(Section):
    """The network: a preset, and what its network leaves to choose. See presets.NetworkSettings."""

    model_config = ConfigDict(extra="allow")  # which other keys there are depends on the preset; checked with it

    preset: Annotated[str, AfterValidator(_known_preset)] = "paper"


class DataConfig(Section):
    """Where the records are and how they are batched."""

    dir: UserPath = Path("data")
    statistics: UserPath | None = None
    """The statistics.npz to train with; None: the data's own. Weights that came from elsewhere need theirs."""
    batch_size: Batch = 128
    """Images of a step, over all workers: each takes an equal part, so that the recipe's 128 stay the recipe's."""
    eval_batch_size: Batch = 100
    shuffle_buffer: Count = 10_000
    """Records, still encoded, that wait in random order; fewer where so many take more than 512 MB, as raw ones do."""
    augment_on: Literal["pipeline", "device"] = "pipeline"
    """Where pictures are cropped, mirrored and colored: by the input pipeline, or by the device that the network runs
    on, for GPUs that take more images/s than the processor's cores prepare. The numbers are the same."""


class AugmentConfig(Section):
    """Overrides of the preset's augmentation; None keeps the preset's value. See presets.Augmentation."""

    max_offset: int | None = Field(None, ge=0, le=32)
    images_per_draw: Count | None = None
    mean: Literal["per-offset", "center", "color"] | None = None
    noise: Literal["eigenvalue", "standard-deviation", "none"] | None = None
    noise_stddev: NotNegative | None = None
    noise_divisor: Factor | None = None
    noise_until_epoch: Count | None = None
    crop: Literal["random", "center"] | None = None
    mirror: bool | None = None


class TrainConfig(Section):
    """The loop and the update rule; None keeps the preset's value. See presets.Recipe."""

    epochs: Count | None = None
    steps: Count | None = None
    """Stop after so many steps, even within an epoch."""
    seed: int = Field(0, ge=0, lt=2**31)
    init_from: UserPath | None = None
    """The run whose weights this one starts with; fc8 starts afresh where the classes are others."""
    cache_features: bool = False
    """Run the frozen part once and train the rest on what it puts out; the same result, many times as fast."""
    learning_rate: NotNegative | None = None
    momentum: float | None = Field(None, ge=1e-9, le=1 - 1e-7)
    """As a float32 still above 0 and below 1."""
    weight_decay: NotNegative | None = None
    bias_rate_factor: NotNegative | None = None
    drop_bias_rate: bool | None = None
    decay_biases: bool | None = None
    schedule: Literal["plateau", "epochs"] | None = None
    drop_epochs: Epochs | None = None
    drop_factor: float | None = Field(None, ge=1e-9, le=1)
    max_drops: int | None = Field(None, ge=0, lt=2**31)
    layer_drops: dict[str, FactorsByEpoch] | None = None
    rate_multipliers: dict[str, NotNegative] | None = None
    freeze: NamesOnce | None = None
    optimizer: OptimizerName | None = None
    precision: Precision | None = None
    patience: Count = 3
    """With schedule "plateau": epochs without a new best validation error before the rate drops."""
    log_every: Count = 20
    """Steps between lines of metrics.jsonl and TensorBoard scalars."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints within an epoch; the end of an epoch always makes one."""
    stuck_after: Count = 1000
    """Steps after which a loss still at ln(classes) is reported."""
    stop_after: Count | None = None
    """Epochs in a row without a new best validation error after which training ends; None: it goes on to the end."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": a picture counts the more in the loss, the fewer its class has, so that all classes weigh alike."""


class DevicesConfig(Section):
    """Which device each tower lives on."""

    towers: Literal["auto", "two-gpus", "one-gpu", "two-cpus", "one-cpu"] = "auto"
    threads: int = Field(0, ge=0, le=4096)
    """Threads inside an operation; 0: one per core, or just one where two towers have two cores."""


class DistributeConfig(Section):
    """Several workers, each a process with two towers, that train one network together; none listed: one process.

    A TF_CONFIG in the environment takes the place of `workers` and `index`.
    """

    workers: tuple[WorkerAddress, ...] = ()
    """host:port of every worker, the same list on all; the first is the one that writes the run's folder."""
    index: int | None = Field(None, ge=0, lt=2**31)
    """This worker's place in the list, from 0; None: found by this machine's own names and addresses."""
    watch_port: int | None = Field(None, ge=1, lt=2**16)
    """On the first worker's host, where all keep watch over each other; None: the highest port in `workers`, plus 1."""
    timeout: float = Field(60, ge=2, le=1e7)
    """Seconds within which a worker that is lost (killed, frozen, cut off or never started) ends all others."""
    stall_timeout: float = Field(600, ge=2, le=1e7)
    """Seconds without a step, a validated batch or a part of a checkpoint after which a worker that is there, but
    stands still, ends all. While it compiles or loads, a busy processor or disk counts as well."""
    rate_scaling: Literal["none", "linear"] = "none"
    """"linear": every rate times data.batch_size / base_batch_size (Goyal et al., arXiv 1706.02677, section 2.1)."""
    base_batch_size: Batch = 128
    """The batch that train.learning_rate is meant for."""
    warmup_epochs: NotNegative = 5
    """Epochs in which scaled-up rates rise from those for base_batch_size (section 2.2 there)."""
    gradient_dtype: Literal["float32", "bfloat16"] = "float32"
    """How gradients go from worker to worker; bfloat16 halves the bytes and rounds to 8 bits of precision."""


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
        """The preset with this config's overrides laid over it, its rate scaled to the batch."""
        base = PRESETS[self.model.preset]
        recipe = Recipe(**_with_overrides(base.train, self.train))
        return Preset(
            network=replace(base.network, **(self.model.model_extra or {})),
            augment=Augmentation(**_with_overrides(base.augment, self.augment)),
            train=replace(recipe, learning_rate=recipe.learning_rate * self.rate_scale),
        )

    @property
    def rate_scale(self) -> float:
        """What the batch's size multiplies every rate with, after the warm-up."""
        scaled = self.distribute.rate_scaling == "linear"
        return self.data.batch_size / self.distribute.base_batch_size if scaled else 1.0


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Reads a YAML config and applies `section.key=value` overrides, the value of a list or table written as in YAML.

    Raises:
      UserError: the file is missing or no YAML, a key is unknown or a value has the wrong type; names it.
    """
    try:
        text = read_text(path, "config")
    except FileNotFoundError as fault:
        raise cannot_be_read(f"config {path}", fault) from fault
    return parse_config(text, str(path), overrides)


def parse_config(text: str, source: str, overrides: list[str] | None = None) -> Config:
    """As `load_config`, from the YAML text itself; `source` names it in messages."""
    tree = load_yaml(text, source)
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        kind = "list" if isinstance(tree, list) else "text"
        raise UserError(f"{source} must hold sections ({', '.join(Config.model_fields)}), not a {kind}")
    for override in overrides or []:
        _apply_override(tree, override)
    try:
        config = Config.model_validate(_with_numbers(tree))
    except ValidationError as fault:
        raise UserError(f"{source}: {_first_fault(fault)}") from fault
    _check_together(config, source)
    return config


def _check_together(config: Config, source: str) -> None:
    """Refuses what no single field can tell."""
    name, train = config.model.preset, config.train
    network = PRESETS[name].network
    check_choices(config.model.model_extra or {}, network, source)
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


def dump_config(config: Config) -> str:
    """The config as YAML that `parse_config` reads back to an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _apply_override(tree: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise UserError(f"override {override[:60]!r} must read section.key=value, as in data.batch_size=64")
    if not isinstance(tree.setdefault(section, {}), dict):
        tree[section] = {}  # `section:` with nothing under it
    if not _is_text(section, key):
        tree[section][key] = load_yaml(value, f"override {override[:60]!r}")
    elif value in NOTHING and (value != "~" or (section, key) != ("data", "dir")):
        tree[section][key] = None  # `~` alone is the home folder where a folder must be named
    else:
        tree[section][key] = value  # as it stands, whatever it might mean in YAML


def _is_text(section: str, key: str) -> bool:
    """Whether a field is a path or a text, of which nothing is to be read but what stands there."""
    fields = _fields_of(section)
    return key in fields and bool({Path, str} & kinds_of(fields[key].annotation))


def _with_numbers(tree: dict[str, Any]) -> dict[str, Any]:
    """The same with numbers and truths in place of the texts that name them, except in fields that are texts."""
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
