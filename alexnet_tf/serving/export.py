"""Exports a run as one version of a model: picture files in, names and probabilities out.

The graph holds the preprocessing of evaluation, by the same functions, and no device: the network is built anew without
towers' devices, so the model loads on whatever the server has.
"""

from pathlib import Path

from alexnet_tf.devices import Towers
from alexnet_tf.model import named_variables
from alexnet_tf.serving.metadata import write_metadata
from alexnet_tf.serving.saved_model import write_saved_model
from alexnet_tf.serving.signatures import ServedNet
from alexnet_tf.serving.versions import new_version, remove_old_versions
from alexnet_tf.serving.warm_up import write_warm_up
from alexnet_tf.workdir import Run, Which


def export_run(
    run: Run,
    out: Path,
    version: int | None,
    which: Which = "best",
    *,
    keep: int | None = None,
    license_text: str | None = None,
) -> Path:
    """Writes OUT/VERSION, whole or not at all, and never over an existing one.

    Args:
      run: the trained run.
      out: the model's folder, as TensorFlow Serving's base_path takes it; its name is the model's.
      version: a positive number; None takes the next free one.
      which: "best" or "latest" checkpoint.
      keep: how many older versions stay; None keeps all.
      license_text: under which licence the weights may be used.

    Returns:
      The version's folder.

    Raises:
      UserError: the version exists, another export writes here, or the run has no checkpoint.
    """
    with new_version(out, version) as (folder, finished):
        model, checkpoint = run.load_model(Towers.unplaced(), which)
        write_saved_model(folder, named_variables(model), ServedNet(model, run).signatures())
        write_metadata(folder, run, checkpoint, license_text)
        write_warm_up(folder, out.resolve().name)
    if keep is not None:
        remove_old_versions(out, keep)
    return finished
