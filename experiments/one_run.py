"""A run of an experiment: its folder, and whether it is finished there with the settings and data of now."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.experiment import SplitDigest, changed_data, changed_settings, deciding_settings
from alexnet_tf.runs.metrics import METRICS_FILE, read_lines, sessions
from alexnet_tf.runs.place import CONFIG_FILE
from alexnet_tf.runs.records import read_record, step_of
from alexnet_tf.settings.config import Config, load_config, parse_config
from experiments.measures import epochs_to, outcome
from experiments.plans import Arm, Plan
from tfrecords.manifest import load_manifest


@dataclass(frozen=True)
class OneRun:
    """A run of an experiment."""

    plan: Plan
    arm: Arm
    seed: int
    rate: float | None
    """Where the arm tries several."""
    folder: Path
    trial: bool = False
    """Whether it tries a rate."""

    @property
    def name(self) -> str:
        """Of its files."""
        return self.folder.name

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of the plan's config, section.key=value."""
        rate = () if self.rate is None else (f"train.learning_rate={self.rate:g}",)
        return (*self.arm.overrides, f"train.seed={self.seed}", *rate)

    @property
    def record(self) -> Path:
        """The file that says that it has ended, how, and what it shows."""
        return self.folder.with_name(f"{self.name}.json")

    @property
    def log(self) -> Path:
        """What training says."""
        return self.folder.with_name(f"{self.name}.log")

    @property
    def last_words(self) -> str:
        """The last line that training said, which is why it failed."""
        return last_line(self.log.read_text(encoding="utf-8", errors="replace"))

    @property
    def reached_target(self) -> bool:
        """Whether it has shown what it is for, and needs no further training."""
        target = self.plan.target
        return target is not None and self.has_metrics and epochs_to(target, self.folder) is not None

    @property
    def has_metrics(self) -> bool:
        """Whether it has been begun."""
        return (self.folder / METRICS_FILE).exists()

    @property
    def broke_down(self) -> bool:
        """Whether training ended because loss or weights were not finite any more."""
        return any(
            line is not None and line["kind"] == "not_finite" for _, line in read_lines(self.folder / METRICS_FILE)
        )

    def outcome(self) -> dict[str, Any]:
        """What it shows so far, beside what it is."""
        return {**self._identity(), **outcome(self.folder, self.plan.target)}

    def _identity(self) -> dict[str, Any]:
        made_by = sessions(self.folder / METRICS_FILE)
        return {"arm": self.arm.name, "seed": self.seed, "rate": self.rate, "made_by": made_by}

    def write_record(self, *, complete: bool = False, failed: str | None = None) -> None:
        """Says that it has ended: by its last epoch (`complete`), at the target, or by breaking down (`failed`)."""
        ended: dict[str, Any] = {"complete": complete, **self.outcome()} if failed is None else {"failed": failed}
        shown = {**self._identity(), "overrides": list(self.overrides), **ended}
        write_whole(self.record, (json.dumps(shown, indent=1) + "\n").encode())

    def finished(self) -> dict[str, Any] | None:
        """What it shows, computed anew; None where there is still something to train.

        Raises:
          UserError: it was made with other settings or data than it would be now.
        """
        if not self.record.exists():
            return None
        record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        self._check_same()
        if "failed" in record:
            return record
        # Ended at another target, it goes on to this one.
        if not (record.get("complete", self.plan.target is None) or self.reached_target):
            return None
        return record | self.outcome()

    @property
    def config(self) -> Config:
        """The plan's, with this run's own settings."""
        return load_config(self.plan.config_file, self.settings)

    @property
    def settings(self) -> list[str]:
        """All overrides."""
        return [*self.overrides, *([f"data.dir={self.plan.data}"] if self.plan.data else [])]

    def _check_same(self) -> None:
        path = self.folder / CONFIG_FILE
        if not path.exists():
            raise UserError(f"{self.record} tells of a run that is gone; restore {self.folder}, or remove that file")
        before, now = parse_config(path.read_text(encoding="utf-8"), str(path)), self.config
        changed = list(changed_settings(deciding_settings(before), deciding_settings(now)))
        changed += [("train.epochs", before.train.epochs, now.train.epochs)] * (before.train.epochs != now.train.epochs)
        remedy = f"give another --out, or remove {self.folder} and {self.record.name}"
        for name, then, value in changed:
            raise UserError(f"{self.folder} was trained with {name}={then}, and it would be {value} now; {remedy}")
        if self.plan.data is None:
            return  # results can be collected where the data are not
        checkpoints = sorted((self.folder / "checkpoints").glob("step-*"), key=lambda path: step_of(path.name) or 0)
        experiment = read_record(checkpoints[-1]).experiment if checkpoints else None
        splits = load_manifest(self.plan.data).splits
        digests = {name: SplitDigest.of(split) for name, split in splits.items()}
        if experiment and experiment.data and (how := changed_data(experiment.data, digests)):
            raise UserError(f"{self.folder} was trained on other data than {self.plan.data}, which {how}; {remedy}")


def last_line(text: str) -> str:
    """Of what a command said, which is why it failed."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
