"""What a run's folder is bound to: training goes on in it only with its own settings, classes, statistics and data."""

from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes, how_they_differ
from alexnet_tf.runs.experiment import Experiment, changed_data, changed_settings, deciding_settings
from alexnet_tf.runs.records import Record
from alexnet_tf.runs.run import CONFIG_FILE, Run
from alexnet_tf.settings.config import Config
from tfrecords.statistics import STATISTICS_FILE, Statistics


def check_bound(run: Path, checkpoint: Path, record: Record, config: Config, now: Experiment) -> None:
    """Sees that a checkpoint was saved in this experiment.

    Args:
      run: the run's folder.
      checkpoint: the latest in it.
      record: of that checkpoint; one of an earlier version is bound to nothing.
      config: in force now.
      now: what training goes on with.

    Raises:
      UserError: names what differs, or config.yaml, where nothing else tells the settings and it is gone.
    """
    saved = record.experiment
    if saved is None:
        if not (run / CONFIG_FILE).exists():
            raise UserError(
                f"{run / CONFIG_FILE} is missing, and checkpoint {checkpoint}, saved by an earlier version, does not "
                "tell the settings; restore the file"
            )
        return
    for name, before, value in changed_settings(saved.settings, now.settings):
        raise UserError(
            f"{name} was {before} when checkpoint {checkpoint} was saved and is {value} now; set it back, use "
            "another --run or, if that checkpoint was copied from another run, move it out of there"
        )
    if saved.classes != now.classes:
        raise UserError(
            f"{config.data.dir} has other classes than checkpoint {checkpoint} was trained on; use its own data or "
            "another --run"
        )
    if saved.statistics != now.statistics:
        raise UserError(
            f"{config.data.statistics or config.data.dir / STATISTICS_FILE} is not the one that checkpoint "
            f"{checkpoint} was trained with; restore it, set data.statistics={run / STATISTICS_FILE} or use "
            "another --run"
        )
    if saved.data is not None and now.data is not None and (change := changed_data(saved.data, now.data)):
        raise UserError(
            f"{config.data.dir} {change}: other data than checkpoint {checkpoint} was trained on; use its own or "
            "another --run"
        )


def check_same_experiment(run: Run, config: Config, classes: Classes, statistics: Statistics) -> None:
    """Sees that a run's folder is of this experiment.

    Raises:
      UserError: names what differs.
    """
    if run.classes.keys != classes.keys:
        raise UserError(
            f"run {run.path} was trained on {run.num_classes} classes, {config.data.dir} "
            f"{how_they_differ(run.classes.keys, classes.keys)}; use its own data or another --run"
        )
    if run.statistics.digest() != statistics.digest():
        raise UserError(
            f"{config.data.dir} holds other training pictures than run {run.path} began with (another mean image or "
            "other colors); use its own data or another --run"
        )
    for name, before, value in changed_settings(deciding_settings(run.config), deciding_settings(config)):
        raise UserError(
            f"{name} was {before} when run {run.path} began and is {value} now; set it back or use another --run"
        )
