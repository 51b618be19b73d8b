"""Trains AlexNet on two towers: config -> data -> model -> trainer. The same command again resumes."""

import argparse
from pathlib import Path

from alexnet_tf.config import load_config
from alexnet_tf.errors import DONE, run_command


def main(argv: list[str]) -> int:
    """Runs an experiment to its end, from wherever it stands."""
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, as in configs/")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, made or resumed")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="as in data.batch_size=64")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.config, arguments.overrides)  # told before TensorFlow is even loaded

    from alexnet_tf.devices import set_up_towers
    from alexnet_tf.fine_tuning import statistics_file
    from alexnet_tf.trainer import Trainer
    from alexnet_tf.workdir import Classes, TrainingFolder
    from tfrecords.manifest import check_shards, load_manifest
    from tfrecords.statistics import Statistics

    manifest = load_manifest(config.data.dir)
    for split in ("train", "val"):
        check_shards(config.data.dir, manifest, split)
    statistics = Statistics.load(statistics_file(config, arguments.run))
    towers = set_up_towers(config.devices)
    with TrainingFolder(arguments.run, config, Classes.of(manifest), statistics) as folder:
        Trainer(config, towers, folder, manifest, statistics).run()
    return DONE


if __name__ == "__main__":
    run_command(main)
