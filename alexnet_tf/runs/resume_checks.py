"""Whether a training may go on in a run's folder: settings, classes, mean image and data must be those of the run."""

from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes, how_they_differ
from alexnet_tf.runs.experiment import Experiment, changed_data, changed_settings, deciding_settings
from alexnet_tf.runs.place import CONFIG_FILE
from alexnet_tf.runs.run import Run
from alexnet_tf.settings.config import Config
from tfrecords.statistics import STATISTICS_FILE, Statistics


def check_same_run(run: Run, config: Config, classes: Classes, statistics: Statistics) -> None:
    """Compares with what the run's files say.

    Args:
      run: as its folder holds it.
      config: in force now.
      classes: of the data.
      statistics: to be trained with.

    Raises:
      UserError: names the first thing that differs.
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


def check_same_experiment(run: Path, checkpoint: Path, saved: Experiment, now: Experiment, config: Config) -> None:
    """Compares with what the latest checkpoint says.

    Args:
      run: its folder.
      checkpoint: the latest one's folder.
      saved: the experiment that it was saved in.
      now: the present one.
      config: in force now.

    Raises:
      UserError: names the first thing that differs.
    """
    for name, before, value in changed_settings(saved.settings, now.settings):
        raise UserError(
            f"{name} was {before} when checkpoint {checkpoint} was saved and is {value} now; set it back, use another "
            "--run or, if that checkpoint was copied from another run, move it out of there"
        )
    if saved.classes != now.classes:
        raise UserError(
            f"{config.data.dir} has other classes than checkpoint {checkpoint} was trained on; use its own data or "
            "another --run"
        )
    if saved.statistics != now.statistics:
        raise UserError(
            f"{config.data.statistics or config.data.dir / STATISTICS_FILE} is not the one that checkpoint "
            f"{checkpoint} was trained with; restore it, set data.statistics={run / STATISTICS_FILE} or use another "
            "--run"
        )
    if saved.data is not None and now.data is not None and (change := changed_data(saved.data, now.data)):
        raise UserError(
            f"{config.data.dir} {change}: other data than checkpoint {checkpoint} was trained on; use its own or "
            "another --run"
        )
    if saved.data is not None and now.data is not None and saved.exif != now.exif:
        raise UserError(
            f"{config.data.dir} was converted with --exif {now.exif}, and checkpoint {checkpoint} was trained on data "
            f"converted with --exif {saved.exif}; convert with that again, use its own data or another --run"
        )


def check_unbound(run: Path, checkpoint: Path) -> None:
    """A checkpoint of an earlier version does not say which experiment it was saved in; then the run's config must.

    Raises:
      UserError: the config is missing.
    """
    if not (run / CONFIG_FILE).exists():
        raise UserError(
            f"{run / CONFIG_FILE} is missing, and checkpoint {checkpoint}, saved by an earlier version, does not tell "
            "the settings; restore the file"
        )
