"""Prints the placement report: where every operation of a training step really lands."""

import argparse
import json
from pathlib import Path

import numpy as np

from alexnet_tf.program.errors import DONE, FAULT, run_command
from alexnet_tf.program.whole_files import check_place, write_whole
from alexnet_tf.settings.config import load_config
from alexnet_tf.towers import set_up_towers
from alexnet_tf.training.placement_report import measure_placement, report_dict, report_lines
from alexnet_tf.training.step import TrainingStep
from tfrecords.manifest import MANIFEST_FILE, load_manifest
from tfrecords.statistics import Statistics


def main(argv: list[str]) -> int:
    """Prints the placement report; status 1 if anything strayed from its tower's device."""
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.devices", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here, too")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.config, arguments.overrides)
    if arguments.json:
        check_place(arguments.json)
    towers = set_up_towers(config.devices)

    data = config.data.dir
    num_classes = load_manifest(data).num_classes if (data / MANIFEST_FILE).exists() else 1000
    statistics = None
    if config.data.augment_on == "device":  # the numbers do not matter here
        statistics = Statistics.of_mean_image(np.zeros(config.preset.network.stored_shape))
    step = TrainingStep(config.preset, num_classes, towers, config.train.seed, statistics)
    placement = measure_placement(step)
    print("\n".join(report_lines(placement)))
    if arguments.json:
        write_whole(arguments.json, (json.dumps(report_dict(placement), indent=1) + "\n").encode())
    return FAULT if placement.strayed else DONE


if __name__ == "__main__":
    run_command(main)
