"""Trains a network on converted pictures. The same command again resumes.

    alexnet-tf train --config paper --run runs/paper data.dir=data/imagenet

With distribute.workers, run it once a worker, on every host.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.runs.place import check_run_place
from alexnet_tf.settings.cluster import find_cluster
from alexnet_tf.settings.config import load_config
from alexnet_tf.settings.explained import as_table, settings_in_force
from alexnet_tf.settings.named_configs import add_config_options
from alexnet_tf.training.tuning import tuned
from alexnet_tf.workers.watch import keep_watch
from tfrecords.manifest import load_manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs an experiment to its end, from wherever it stands."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    source, overrides = str(arguments.config), arguments.overrides
    if arguments.show_config:
        given = load_config(arguments.config, overrides)
        print(as_table(settings_in_force(given, given, source, overrides)))
        return DONE
    if arguments.run is None:
        parser.error("--run is missing, the folder to train in")
    outlive_readers()
    refuse_pattern("--run", arguments.run)
    check_run_place(arguments.run)
    with STOP:
        # A wrong config and a worker that does not come are told before TensorFlow is even loaded.
        given = load_config(arguments.config, overrides)
        config, cluster = find_cluster(given)
        if config.train.init_from:
            refuse_pattern("train.init_from", config.train.init_from)
        with keep_watch(cluster, config):
            manifest = load_manifest(config.data.dir)  # here, so that no data are told as early
            config = tuned(config, cluster, arguments.run, len(manifest.class_keys), print)
            settings = settings_in_force(given, config, source, overrides)
            from alexnet_tf.training.start import train

            train(config, cluster, arguments.run, settings, manifest)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("train", __doc__)
    add_config_options(parser)
    add = parser.add_argument
    add("--run", type=Path, metavar="RUN", help="the run's folder: made, or resumed where it holds a run")
    add(
        "--show-config", action="store_true",
        help="print every setting with its value, where that comes from, its default and its meaning; train nothing",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
