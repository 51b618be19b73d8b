"""Trains AlexNet on two towers: config -> data -> model -> trainer. The same command again resumes.

With distribute.workers, run it once a worker, on every host.
"""

import argparse
from pathlib import Path

from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.settings.cluster import Cluster, find_cluster
from alexnet_tf.settings.config import Config, load_config
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.workers.watch import keep_watch


def main(argv: list[str]) -> int:
    """Runs an experiment to its end, from wherever it stands."""
    outlive_readers()
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, as in configs/")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, made or resumed")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="as in data.batch_size=64")
    arguments = parser.parse_args(argv)
    refuse_pattern("--run", arguments.run)
    with STOP:
        # A wrong config and a worker that does not come are told before TensorFlow is even loaded.
        config, cluster = find_cluster(load_config(arguments.config, arguments.overrides))
        if config.train.init_from:
            refuse_pattern("train.init_from", config.train.init_from)
        with keep_watch(cluster, config):
            train(config, cluster, arguments.run)
    return DONE


def train(config: Config, cluster: Cluster, run: Path) -> None:
    """Trains in the folder `run`, together with the cluster's other workers."""
    from alexnet_tf.runs.classes import Classes
    from alexnet_tf.runs.folder import OthersFolder, TrainingFolder
    from alexnet_tf.towers import set_up_towers
    from alexnet_tf.training.fine_tuning import load_statistics
    from alexnet_tf.training.loop import Trainer
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
        Trainer(config, towers, folder, manifest, statistics, workers).run()


if __name__ == "__main__":
    run_command(main)
