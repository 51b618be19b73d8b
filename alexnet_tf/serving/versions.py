"""A model's folder as TensorFlow Serving's base_path: one folder a version, named by its number. No TensorFlow here.

Reading and removing follow different rules. Any folder that a server would load is read: its name is a number, perhaps
with leading zeros, or it is a symbolic link. Only what `export.py` made itself is counted and removed: a folder with
the exact name that it gives, which says so in its metadata and holds nothing else.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read, cannot_be_written
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import UNFINISHED, held, make_folder, put_in_place, read_whole, remove

PROTO = "saved_model.pb"
MODEL_FILES = {"savedmodel": PROTO, "onnx": "model.onnx", "litert": "model.tflite"}
"""By format, the file of a version that holds the model; only the first is for servers."""
README_FILE = "README.md"
"""Of a version in another format: how to prepare a picture for it."""
ASSETS = Path("assets.extra")
CLASSES_FILE = ASSETS / "classes.json"
"""Class keys and names, in label order."""
CLASSES_REMEDY = "copy the whole folder again, or export again"
MODEL_FILE = ASSETS / "model.json"
"""Where the model comes from, how good it is, under which license it may be used, and its limits."""
CARD_FILE = ASSETS / "model_card.md"
"""The same for people, with data, recipe and error rates of every net."""
EXAMPLES = ASSETS / "examples"
"""Pictures of the validation split to try the model on, where the export was asked for some."""
MOST_EXAMPLES = 12
EXAMPLE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})\.(jpg|png)")
"""The name of one: its place and its label."""
STATISTICS_COPY = ASSETS / "statistics.npz"
"""The run's mean image and color axes."""
WARM_UP_FILE = ASSETS / "tf_serving_warmup_requests"
MAKER = "alexnet-tf"
"""The `made_by` of MODEL_FILE."""
HIGHEST = 2**63 - 1
"""TensorFlow Serving reads versions as int64 and passes over folders beyond."""
LOCK = ".lock"
VARIABLES = re.compile(
    r"variables/(variables(\.index|\.data-\d{5}-of-\d{5})(\.tempstate\d+)?|variables_temp(/part-[^/]+)?)"
)
"""TensorFlow's files in a version; the last two only where it was killed while it wrote."""

_OLDER_METADATA = {"classes", "commit", "exported", "tensorflow", "license", "limits"}
"""Keys that MODEL_FILE held in versions that did not write `made_by` yet."""

Report = Callable[[str], None]


def model_name(model: AnyPath) -> str:
    """The name that a model's folder gives it: the folder's own, or the symbolic link's that leads to it."""
    model = Path(model)
    return os.path.basename(os.path.abspath(model))


def version_folders(model: AnyPath) -> dict[int, Path]:
    """The folders in a model's folder that TensorFlow Serving takes for versions, by ascending number.

    `0007` is version 7; where `7` is there as well, that one is meant. A folder that vanishes meanwhile is
    ignored.
    """
    model = Path(model)
    found: dict[int, Path] = {}
    for path in _numbered(model):
        number = int(path.name)
        if number <= HIGHEST and path.is_dir() and (number not in found or path.name == str(number)):
            found[number] = path
    return dict(sorted(found.items()))


def versions(model: AnyPath) -> list[int]:
    """The numbers of `version_folders`, ascending."""
    model = Path(model)
    return list(version_folders(model))


def newest_version(model: AnyPath) -> Path:
    """The highest version in a model's folder that holds a SavedModel; a version's own folder stands for itself.

    Raises:
      UserError: there is no exported model.
    """
    model = Path(model)
    if (model / PROTO).is_file():
        return model
    for folder in reversed(version_folders(model).values()):
        if (folder / PROTO).is_file():
            return folder
    found = "holds" if model.is_dir() else "is no folder, so it holds"
    raise UserError(f"{model} {found} no exported model; {how_to_get_one(model)}")


def how_to_get_one(model: Path) -> str:
    """What helps where a path holds no exported model."""
    if _is_run(model):
        out = "models/alexnet"
        return f"it is a run: export it with alexnet-tf export --run {model} --out {out} and give --model {out}"
    if below := _models_below(model):
        return f"it holds folders of models: give --model {below[0]}"
    return f"make one with alexnet-tf export --out {model}"


def _models_below(folder: Path) -> list[Path]:
    """Folders in it that hold exported models."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path for path in found if any((version / PROTO).is_file() for version in version_folders(path).values())]


def _is_run(path: Path) -> bool:
    """Whether a folder is one that a training made."""
    return (path / "config.yaml").is_file() and (path / "checkpoints").is_dir()


@contextmanager
def new_version(
    out: Path,
    version: int | None,
    *,
    keep: int | None = None,
    report: Report = lambda line: None,
    model_file: str = PROTO,
) -> Iterator[tuple[Path, Path]]:
    """A folder to write a version in, renamed to its number when the block ends well, removed when it does not.

    Args:
      out: the model's folder; made where it is missing.
      version: a positive number; None takes one more than the highest there.
      keep: how many versions stay beside the new one and the highest; None keeps all.
      report: gets a line on what was left alone, and on which version a server loads when it is not the new one.
      model_file: of MODEL_FILES; all versions of a model are of one format.

    Yields:
      The folder to write, which does not exist yet, and the folder that it becomes.

    Raises:
      UserError: the version exists, another process writes a version here, or the folder cannot be written.
    """
    if _is_run(out):
        raise UserError(f"--out {out} is a run; give a folder of the model's own, such as --out models/alexnet")
    with _locked(out):
        _refuse_other_formats(out, model_file)
        _remove_leftovers(out, report)
        finished = _free_folder(out, version)
        unfinished = out / f"{UNFINISHED}{finished.name}"
        if os.path.lexists(unfinished):
            raise UserError(f"{unfinished} is in the way and no export left it; move it away")
        try:
            yield unfinished, finished
            try:
                put_in_place(unfinished, finished)
            except OSError as fault:
                raise cannot_be_written(finished, fault) from fault
        finally:
            remove(unfinished)
        if keep is not None:
            _remove_old_versions(out, keep, finished, report)
        highest = max(version_folders(out), default=int(finished.name))
        if highest > int(finished.name):
            report(f"a server loads version {highest} of {out}, the highest number there, and not {finished.name}")


def _refuse_other_formats(out: Path, model_file: str) -> None:
    """A server that finds a version without a SavedModel beside one with it would load nothing."""
    for folder in version_folders(out).values():
        for format_there, other in MODEL_FILES.items():
            if other != model_file and (folder / other).is_file():
                raise UserError(
                    f"--out {out} holds a model of format {format_there} (version {folder.name}); give each format a "
                    "folder of its own"
                )


def _free_folder(out: Path, version: int | None) -> Path:
    taken = {int(path.name): path for path in _numbered(out)}
    number = max((number for number in taken if number <= HIGHEST), default=0) + 1 if version is None else version
    if number > HIGHEST:
        wanted = f"--version {number}" if version is not None else f"the version after {HIGHEST} in {out}"
        raise UserError(f"{wanted} is beyond {HIGHEST}, the highest that servers read; give a lower --version")
    if number in taken:
        raise UserError(f"{taken[number]} exists and stays as it is; give another --version or none for the next")
    return out / str(number)


def _remove_old_versions(out: Path, keep: int, written: Path, report: Report) -> None:
    """Removes the exports in `out` but the one just written, the highest, and the `keep` highest of the others.

    A version is renamed before its files go, so that nobody loads half of one. A server that has loaded it already
    serves on from memory until it takes up the new one.
    """
    ours: list[Path] = []
    others: list[Path] = []
    for path in sorted(_numbered(out), key=lambda path: int(path.name)):
        (ours if _is_export(path) else others).append(path)
    older = [path for path in ours[:-1] if path != written]
    for path in older[: len(older) - keep] if keep < len(older) else []:
        leaving = out / f"{UNFINISHED}{path.name}"
        try:
            os.rename(path, leaving)
            shutil.rmtree(leaving)
        except OSError as fault:
            raise UserError(
                f"{written} is written; {path} cannot be removed: {fault.strerror}; remove it by hand"
            ) from fault
    if others:
        named = ", ".join(path.name for path in others)
        report(f"left alone and not counted, for alexnet-tf export did not make it as it stands: {named} in {out}")


def _is_export(folder: Path) -> bool:
    """Whether it is a version that an export made, of the name that it gave, with nothing of anybody else in it."""
    if folder.name != str(int(folder.name)) or folder.is_symlink():
        return False
    if not any((folder / file).is_file() for file in MODEL_FILES.values()):
        return False
    try:
        model = json.loads(read_whole(folder / MODEL_FILE))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(model, dict):
        return False
    says_so = model.get("made_by") == MAKER or (
        model.keys() >= _OLDER_METADATA and ("nets" in model or model.keys() >= {"preset", "checkpoint_step"})
    )
    return says_so and _holds_only_an_export(folder)


def _holds_only_an_export(folder: Path) -> bool:
    """Whether a folder holds nothing but what an export writes, whole or in part."""
    known = {*MODEL_FILES.values(), README_FILE, "fingerprint.pb", "variables", "assets", str(ASSETS)}
    known |= {str(file) for file in (CLASSES_FILE, MODEL_FILE, CARD_FILE, EXAMPLES, STATISTICS_COPY, WARM_UP_FILE)}
    for parent, folders, files in os.walk(folder):
        inside = os.path.relpath(parent, folder)
        for name in [*folders, *files]:
            path = os.path.normpath(os.path.join(inside, name))
            is_example = inside == str(EXAMPLES) and EXAMPLE.fullmatch(name)
            expected = path in known or VARIABLES.fullmatch(path) or is_example
            if not expected or os.path.islink(os.path.join(parent, name)):
                return False
    return True


def _remove_leftovers(out: Path, report: Report) -> None:
    """Removes what an export that was killed has left, and nothing else of such a name."""
    for path in sorted(out.glob(f"{UNFINISHED}*")):
        number = path.name.removeprefix(UNFINISHED)
        exact = number.isascii() and number.isdecimal() and path.is_dir() and not path.is_symlink()
        if exact and _holds_only_an_export(path):
            remove(path)
        else:
            report(f"left alone, for no export left it: {path}")


def _numbered(folder: Path) -> list[Path]:
    """Everything in a folder whose name is a number, in ASCII digits as servers read them."""
    try:
        return [path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as fault:
        raise cannot_be_read(folder, fault) from fault


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    make_folder(out)
    with held(out / LOCK, f"--out {out} is being written by another export; wait for it"):
        yield
