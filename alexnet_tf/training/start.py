"""A training from its start to its end: data -> network's devices -> workers -> run's folder -> network -> trainer.

Read downward: it is the order of an image, and each call is one hop away.
"""

import contextlib
import sys
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import OthersFolder, TrainingFolder
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.settings.config import Config
from alexnet_tf.settings.explained import Setting, as_yaml
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.towers import set_up_towers
from alexnet_tf.training.fine_tuning import load_statistics
from alexnet_tf.training.loop import Trainer
from alexnet_tf.training.outlook import overview
from alexnet_tf.training.precision_trial import precision_advice
from alexnet_tf.workers.together import join
from tfrecords.manifest import Manifest, check_shards

RESOLVED_FILE = "resolved.yaml"
"""In the run's folder, for people: every setting in force."""


def train(config: Config, cluster: Cluster, run: Path, settings: list[Setting], manifest: Manifest) -> None:
    """Trains in the folder `run`, together with the cluster's other workers; says first what it is going to do.

    Args:
      config: of the experiment.
      cluster: this worker's place among the others.
      run: the run's folder, made or resumed.
      settings: every setting in force, with where it comes from.
      manifest: of the config's data.

    Raises:
      UserError: data, run and config do not fit together; names what differs.
      StoppedBySignal: after saving.
    """
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
                if advice := precision_advice(config.preset.train.precision, towers):
                    print(advice, file=sys.stderr)
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
