"""Trains AlexNet on two towers: config -> data -> model -> trainer. The same command again resumes.

With distribute.workers, run it once a worker, on every host.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.settings.cluster import Cluster, find_cluster
from alexnet_tf.settings.config import Config, load_config
from alexnet_tf.settings.explained import Setting, as_table, as_yaml, settings_in_force
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.workers.watch import keep_watch
from tfrecords.manifest import MANIFEST_FILE

RESOLVED_FILE = "resolved.yaml"
"""In the run's folder, for people: every setting in force."""


def main(argv: list[str]) -> int:
    """Runs an experiment to its end, from wherever it stands."""
    outlive_readers()
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, as in configs/")
    parser.add_argument("--run", type=Path, help="the run's folder, made or resumed")
    parser.add_argument(
        "--show-config", action="store_true",
        help="print every setting with its value, where that comes from, its default and its meaning; train nothing",
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="as in data.batch_size=64")
    arguments = parser.parse_args(argv)
    if arguments.show_config:
        print(as_table(_settings(load_config(arguments.config, arguments.overrides), None, arguments)))
        return DONE
    if arguments.run is None:
        parser.error("--run is missing, the folder to train in")
    refuse_pattern("--run", arguments.run)
    if (arguments.run / MANIFEST_FILE).exists():
        raise UserError(
            f"--run {arguments.run} holds converted data; give a folder of the run's own, such as runs/first"
        )
    with STOP:
        # A wrong config and a worker that does not come are told before TensorFlow is even loaded.
        given = load_config(arguments.config, arguments.overrides)
        config, cluster = find_cluster(given)
        settings = _settings(given, config, arguments)
        if config.train.init_from:
            refuse_pattern("train.init_from", config.train.init_from)
        with keep_watch(cluster, config):
            train(config, cluster, arguments.run, settings)
    return DONE


def _settings(given: Config, config: Config | None, arguments: argparse.Namespace) -> list[Setting]:
    return settings_in_force(given, config or given, str(arguments.config), arguments.overrides)


def train(config: Config, cluster: Cluster, run: Path, settings: list[Setting]) -> None:
    """Trains in the folder `run`, together with the cluster's other workers; says first what it is going to do."""
    from alexnet_tf.runs.classes import Classes
    from alexnet_tf.runs.folder import OthersFolder, TrainingFolder
    from alexnet_tf.towers import set_up_towers
    from alexnet_tf.training.fine_tuning import load_statistics
    from alexnet_tf.training.loop import Trainer
    from alexnet_tf.training.outlook import overview
    from alexnet_tf.workers.together import join
    from tfrecords.manifest import check_shards, load_manifest

    manifest = load_manifest(config.data.dir)
    check_pictures(config.data.dir, manifest, config.preset.network, config.model.preset)
    for split in ("train", "val"):
        check_shards(config.data.dir, manifest, split)
    statistics = load_statistics(config, run)
    towers = set_up_towers(config.devices, cluster)
    workers = join(cluster, towers, config.distribute)
    workers.check_same_data(manifest, statistics)
    classes = Classes.of(manifest)
    folder = OthersFolder(run, classes) if workers.index else TrainingFolder(run, config, classes, statistics, manifest)
    with folder:
        trainer = Trainer(config, towers, folder, manifest, statistics, workers)
        if not workers.index:
            _write_resolved(run / RESOLVED_FILE, as_yaml(settings).encode())
            if not trainer.complete:
                print("\n".join(overview(trainer, settings)))
        trainer.run()


def _write_resolved(path: Path, content: bytes) -> None:
    """Only where it changes, and where it cannot be written no run ends for it."""
    with contextlib.suppress(OSError):
        if path.is_file() and path.read_bytes() == content:
            return
    try:
        write_whole(path, content)
    except UserError as fault:
        print(f"{fault}; the training goes on without it", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
