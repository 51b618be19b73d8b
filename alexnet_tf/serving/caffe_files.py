"""A run's weights as Caffe's own files."""

from pathlib import Path

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import named_variables
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.towers import Towers
from alexnet_tf.weights.caffe_net import NET_NAMES, caffe_layers, prototxt
from alexnet_tf.weights.caffemodel import write_caffemodel, write_mean_image
from alexnet_tf.weights.layouts import CAFFE, to_published


def write_caffe_files(
    run: Run, which: Which, caffemodel: Path, prototxt_file: Path | None = None, mean_file: Path | None = None
) -> None:
    """Writes a run of preset caffe or caffenet for Caffe.

    Args:
      run: whose weights.
      which: of its checkpoints.
      caffemodel: gets the weights.
      prototxt_file: gets the network.
      mean_file: gets the mean image, as .binaryproto.

    Raises:
      UserError: the run is of another preset, has no sound checkpoint, or a file cannot be written.
    """
    preset = run.config.model.preset
    if preset not in NET_NAMES:
        raise UserError(f"run {run.path} has preset {preset}; Caffe's layers can express caffe and caffenet only")
    model, _ = trained_network(run, Towers.unplaced(), which)
    values = {name: variable.numpy() for name, variable in named_variables(model).items()}
    layers = caffe_layers(preset, to_published(values, CAFFE))
    write_caffemodel(caffemodel, NET_NAMES[preset], layers)
    if prototxt_file:
        write_whole(prototxt_file, prototxt(NET_NAMES[preset], layers).encode())
    if mean_file:
        write_mean_image(mean_file, run.statistics.mean_image)
