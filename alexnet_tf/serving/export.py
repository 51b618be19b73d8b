"""Exports a run, or several as an ensemble, as one version of a model: picture files in, names and probabilities out.

The graph holds the preprocessing of evaluation, by the same functions, and no device: the network is built anew without
towers' devices, so the model loads on whatever the server has.
"""

from pathlib import Path

import tensorflow as tf

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.layers import Dense
from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.serving.examples import chosen_examples, write_examples
from alexnet_tf.serving.exported_model import TRANSPOSED_KERNEL
from alexnet_tf.serving.faults import faults_of
from alexnet_tf.serving.metadata import write_metadata
from alexnet_tf.serving.saved_model import write_saved_model
from alexnet_tf.serving.signatures import ServedEnsemble, ServedNet
from alexnet_tf.serving.versions import Report, model_name, new_version
from alexnet_tf.serving.warm_up import write_warm_up
from alexnet_tf.towers import Towers
from tfrecords.exif import Exif


def export_run(
    runs: list[Run],
    out: AnyPath,
    version: int | None,
    which: Which = "best",
    *,
    keep: int | None = None,
    license_text: str | None = None,
    examples: int = 0,
    report: Report = lambda line: None,
) -> Path:
    """Writes OUT/VERSION, whole or not at all, and never over an existing one.

    Args:
      runs: the trained run; several answer as one, with the mean of their probabilities.
      out: the model's folder, as TensorFlow Serving's base_path takes it; its name is the model's.
      version: a positive number; None takes the next free one.
      which: "best" or "latest" checkpoint.
      keep: how many versions stay beside the new one and the highest; None keeps all.
      license_text: under which license the weights may be used.
      examples: how many validation pictures of the (first) run's data travel with it, at most versions.MOST_EXAMPLES.
      report: gets a line on each run's checkpoint, on what `keep` left alone, and on which version a server loads when
        it is not the new one.

    Returns:
      The version's folder.

    Raises:
      UserError: the version exists, another export writes here, the disk is full, a run has no checkpoint, the runs do
        not fit together, or the data of the examples are gone.
    """
    out = Path(out)
    _check_ensemble(runs)
    if len(runs) > 1:
        _exif_of(runs, [run.checkpoint(which) for run in runs])  # before anything is written
    shown = chosen_examples(runs[0], examples) if examples else []
    with new_version(out, version, keep=keep, report=report) as (folder, finished):
        loaded = [trained_network(run, Towers.unplaced(), which) for run in runs]
        for run, (_, checkpoint) in zip(runs, loaded, strict=True):
            report(f"weights of run {run.path}: {CheckpointFacts.of(run, checkpoint)}")
        variables = [_lay_out(model) for model, _ in loaded]
        exif = _exif_of(runs, [checkpoint for _, checkpoint in loaded])
        members = [ServedNet(model, run, exif) for (model, _), run in zip(loaded, runs, strict=True)]
        net = members[0] if len(members) == 1 else ServedEnsemble(members)
        signatures = net.signatures()
        with faults_of(finished):
            write_saved_model(folder, _joined(variables), signatures)
            write_metadata(folder, runs, [checkpoint for _, checkpoint in loaded], exif, license_text)
            write_examples(folder, shown)
            write_warm_up(folder, model_name(out), signatures)
    return finished


def _exif_of(runs: list[Run], checkpoints: list[Path]) -> Exif:
    """What the model does about EXIF orientation: as the data that its nets were trained on."""
    first, *others = [run.exif(checkpoint) for run, checkpoint in zip(runs, checkpoints, strict=True)]
    for run, other in zip(runs[1:], others, strict=True):
        if other != first:
            raise UserError(
                f"--run {run.path} was trained on data converted with --exif {other}, {runs[0].path} with --exif "
                f"{first}: they see a picture in different ways, so export each by itself"
            )
    return first


def _check_ensemble(runs: list[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.classes.keys != first.classes.keys:
            raise UserError(f"--run {run.path} knows other classes than {first.path}: they cannot answer as one")
        networks = [each.config.preset.network for each in (run, first)]
        sizes = [network.image_size for network in networks]
        if sizes[0] != sizes[1]:
            raise UserError(
                f"--run {run.path} sees crops of {sizes[0]} pixels, {first.path} of {sizes[1]}: export each by itself"
            )
        if networks[0].stored_shape != networks[1].stored_shape:
            raise UserError(
                f"--run {run.path} takes pictures of another size, or other colors, than {first.path}: export each by "
                "itself"
            )


def _lay_out(model: Network) -> dict[str, tf.Variable]:
    """Transposes the kernels of fully connected layers, for speed; returns the network's variables by name."""
    variables = named_variables(model)
    for layer in model._flatten_layers():
        if isinstance(layer, Dense):
            del variables[f"{layer.name}/kernel"]
            variables[f"{layer.name}/{TRANSPOSED_KERNEL}"] = layer.transpose_kernel()
    return variables


def _joined(variables: list[dict[str, tf.Variable]]) -> dict[str, tf.Variable]:
    if len(variables) == 1:
        return variables[0]
    return {f"net{number}/{name}": one for number, own in enumerate(variables) for name, one in own.items()}
