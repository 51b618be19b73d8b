"""The sections of a config and their fields, each with its type, its range and its default. No TensorFlow here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import OptimizerName, Precision
from alexnet_tf.settings.values import (
    Batch,
    Count,
    Epochs,
    Factor,
    FactorsByEpoch,
    NamesOnce,
    NotNegative,
    Section,
    UserPath,
    WorkerAddress,
)  # fmt: skip


def _known_preset(name: str) -> str:
    if name not in PRESETS:
        raise PydanticCustomError("preset", f"Input should be one of {', '.join(PRESETS)}")
    return name


class ModelConfig(Section):
    """The network: a preset, and what its network leaves to choose. See recipe.NetworkSettings."""

    model_config = ConfigDict(extra="allow")  # which other keys there are depends on the preset; checked with it

    preset: Annotated[str, AfterValidator(_known_preset)] = "paper"


class DataConfig(Section):
    """Where the records are and how they are batched."""

    dir: UserPath = Path("data")
    statistics: UserPath | None = None
    """The statistics.npz to train with; None: the data's own. Imported weights need their own."""
    batch_size: Batch = 128
    """Images of a step over all workers, each of which takes an equal part: the recipe's 128 are 128 in all."""
    eval_batch_size: Batch = 100
    shuffle_buffer: Count = 10_000
    """Size of the shuffle buffer, in records; smaller where so many take more than 512 MB, as raw ones do."""
    augment_on: Literal["pipeline", "device"] = "pipeline"
    """Where pictures are cropped, mirrored and colored: by the input pipeline, or by the device that the network runs
    on, for GPUs that take more images/s than the processor's cores prepare. The numbers are the same."""


class AugmentConfig(Section):
    """Overrides of the preset's augmentation; None keeps the preset's value. See recipe.Augmentation."""

    max_offset: int | None = Field(None, ge=0, le=32)
    images_per_draw: Count | None = None
    mean: Literal["per-offset", "center", "color"] | None = None
    noise: Literal["eigenvalue", "standard-deviation", "none"] | None = None
    noise_stddev: NotNegative | None = None
    noise_divisor: Factor | None = None
    noise_until_epoch: Count | None = None
    crop: Literal["random", "center"] | None = None
    mirror: bool | None = None
    padding: int | None = Field(None, ge=0, le=32)


class TrainConfig(Section):
    """The loop and the update rule; None keeps the preset's value. See recipe.Recipe."""

    epochs: Count | None = None
    steps: Count | None = None
    """Stop after so many steps, even within an epoch."""
    seed: int = Field(0, ge=0, lt=2**31)
    init_from: UserPath | None = None
    """The run whose weights this one starts with; where the classes differ, the last layer is initialized anew."""
    cache_features: bool = False
    """Run the frozen part once and train the rest on its stored outputs; the same result, many times as fast."""
    learning_rate: NotNegative | None = None
    momentum: float | None = Field(None, ge=1e-9, le=1 - 1e-7)
    """Above 0 and below 1, as a float32, too."""
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
    """Steps between checkpoints within an epoch; the end of an epoch makes one, too."""
    saving_share: float = Field(0.05, ge=0, le=1)
    """The share of the time that saving at the ends of epochs may take: where epochs are short, not each makes a
    checkpoint; the best weights wait in memory, and the last state is always saved."""
    stuck_after: Count = 1000
    """Steps after which a loss still at ln(classes) is reported."""
    stop_after: Count | None = None
    """Epochs in a row without a new best validation error after which training ends; None: it goes on to the end."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": a picture counts more in the loss where its class has fewer, so that all classes weigh the same."""


class DevicesConfig(Section):
    """Which device each tower lives on."""

    towers: Literal["auto", "two-gpus", "one-gpu", "two-cpus", "one-cpu"] = "auto"
    threads: int = Field(0, ge=0, le=4096)
    """Threads inside an operation; 0: one per core, or just one where two towers have two cores."""
    filtering: bool = True
    """Whether training on a processor takes minimal filtering for the convolutions that it suits, which rounds
    otherwise."""
    tune: bool = False
    """Whether a new run first measures for a minute what is faster here, with `filtering` and without, and with other
    `threads`, where these are not set; the run keeps it."""


class DistributeConfig(Section):
    """Several workers, each a process with two towers, that train one network together; none listed: one process.

    A TF_CONFIG in the environment takes the place of `workers` and `index`.
    """

    workers: tuple[WorkerAddress, ...] = ()
    """host:port of every worker, the same list on all; the first is the one that writes the run's folder."""
    index: int | None = Field(None, ge=0, lt=2**31)
    """This worker's place in the list, from 0; None: found by this machine's own names and addresses."""
    watch_port: int | None = Field(None, ge=1, lt=2**16)
    """Port on the first worker's host for watching each other; None: the highest port in `workers`, plus 1."""
    timeout: float = Field(60, ge=2, le=1e7)
    """Seconds after which a lost worker (killed, frozen, cut off or never started) ends all others."""
    stall_timeout: float = Field(600, ge=2, le=1e7)
    """Seconds without a step, a validated batch or a part of a checkpoint after which a stalled worker ends all
    others. While it compiles or loads, a busy processor or disk counts as well."""
    rate_scaling: Literal["none", "linear"] = "none"
    """"linear": every rate times data.batch_size / base_batch_size (Goyal et al., arXiv 1706.02677, section 2.1)."""
    base_batch_size: Batch = 128
    """The batch that train.learning_rate is meant for."""
    warmup_epochs: NotNegative = 5
    """Epochs in which scaled-up rates rise from those for base_batch_size (section 2.2 there)."""
    gradient_dtype: Literal["float32", "bfloat16"] = "float32"
    """How gradients go from worker to worker; bfloat16 halves the bytes and rounds to 8 bits of precision."""
