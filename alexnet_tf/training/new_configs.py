"""A new config for own pictures, from scratch or from another run's weights."""

import sys
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.place import CONFIG_FILE, no_run
from alexnet_tf.settings.config import load_config
from alexnet_tf.settings.fitting import Begun, fitting_config, from_scratch_doubt
from tfrecords.manifest import load_manifest


def write_new_config(data: Path, run: Path | None, out: Path | None) -> None:
    """Writes a config that fits converted pictures to a file, or to stdout where `out` is None.

    Args:
      data: the folder of converted pictures.
      run: whose weights are to be begun with; None: from scratch, of which is told where the pictures are few.
      out: the file, which must not be there yet.

    Raises:
      UserError: one of them cannot be used; names it.
    """
    manifest = load_manifest(data)
    text = fitting_config(data, manifest, _begun(run, manifest.class_keys) if run else None)
    if run is None and (doubt := from_scratch_doubt(manifest)):
        print(f"warning: {doubt}", file=sys.stderr)
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise UserError(f"--out {out} exists and stays as it is: name another file, or remove it")
    write_whole(out, text.encode())
    print(f"{out} is written; next: alexnet-tf train --config {out} --run runs/{out.stem}", file=sys.stderr)


def _begun(run: Path, class_keys: list[str]) -> Begun:
    if not (run / CONFIG_FILE).exists():
        raise UserError(f"--from {no_run(run)}")
    from alexnet_tf.runs.classes import load_classes

    classes = load_classes(run / "classes.json", "restore it, or name another run")
    return Begun(run, load_config(run / CONFIG_FILE), classes.keys == class_keys)
