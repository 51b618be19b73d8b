"""What each experiment compares: arms, which differ in a few fields of one config, and the seeds of each."""

from dataclasses import dataclass
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"


@dataclass(frozen=True)
class Arm:
    """One of the sides that are compared."""

    name: str
    overrides: tuple[str, ...] = ()
    """Of the config, section.key=value."""
    rates: tuple[float, ...] = ()
    """Of train.learning_rate: each is tried with the first seed, and all take the best one; none: the config's own."""


@dataclass(frozen=True)
class Plan:
    """An experiment."""

    name: str
    config: str
    """A file of configs/experiments/, whose comment says what the paper found."""
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    target: float | None = None
    """A training error, from 0 to 1, at which a run has shown what it is for and ends."""
    evaluated: bool = False
    """Whether each run is evaluated with one view and with ten, as the paper's tables are."""
    ensemble: bool = False
    """Whether the runs of each arm are averaged and evaluated so, too."""
    about_training: bool = False
    """Whether the figure shows the error in training, and not that of the validation pictures."""

    data: Path | None = None
    """The folder of converted pictures; None: the config's own."""

    @property
    def shows_training(self) -> bool:
        """Whether the figure is of the error in training, which is also what runs with a target end at."""
        return self.about_training or self.target is not None

    @property
    def config_file(self) -> Path:
        """The file."""
        return CONFIGS / self.config


WHOLE = Arm("whole")
"""The net of which ablations take parts away, and ensemble averages several: in one --out they share its runs."""

PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            "figure1",
            "figure1.yaml",
            (
                Arm("relu", ("model.activation=relu",), (0.0025, 0.005, 0.01)),
                Arm("tanh", ("model.activation=tanh",), (0.005, 0.01, 0.02)),
            ),
            target=0.25,
        ),
        Plan(
            "cifar-lrn",
            "cifar_lrn.yaml",
            (Arm("with", ("model.normalization=response",)), Arm("without", ("model.normalization=none",))),
        ),
        Plan(
            "ablations",
            "ablations.yaml",
            (
                WHOLE,
                Arm("plain-pooling", ("model.pooling=plain",)),
                Arm("no-normalization", ("model.normalization=none",)),
                Arm("no-color-noise", ("augment.noise=none",)),
                Arm("no-dropout", ("model.dropout_rate=0",)),
                Arm("one-tower", ("model.towers=one", "devices.towers=one-cpu")),
                Arm("towers-apart", ("model.towers=apart",)),
                Arm("tanh", ("model.activation=tanh",)),
            ),
            evaluated=True,
        ),
        Plan(
            "depth",
            "depth.yaml",
            tuple(
                Arm(f"{kind}-{depth}", (f"model.kind={kind}", f"model.depth={depth}"))
                for kind in ("residual", "plain")
                for depth in (20, 56)
            ),
            seeds=(0,),
            about_training=True,
        ),
        Plan("dropout-time", "dropout_time.yaml", (Arm("with"), Arm("without", ("model.dropout_rate=0",)))),
        Plan("ensemble", "ablations.yaml", (WHOLE,), seeds=(0, 1, 2, 3, 4), evaluated=True, ensemble=True),
    )
}
