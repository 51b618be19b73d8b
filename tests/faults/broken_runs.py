"""How runs are broken, taken back to an earlier step, and compared."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from tests.narrow_nets import NARROW_COMMAND

ROOT = Path(__file__).resolve().parents[2]
INTERNAL = (
    "function_node", "tensorflow", "Errno", "Error:", "Traceback", "unexpected EOF", "codec", "OpError", "NotFound",
    "ResourceExhausted", "DataLoss", "validation error for",
)  # fmt: skip
"""Parts of messages that no user can make sense of."""
KILLED_AT = """
import os, signal
def kill_at(module, name, number, when):
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), [0]
    def wrapped(*rest, **options):
        calls[0] += 1
        if calls[0] == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*rest, **options)
        if calls[0] == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    setattr(owner, last, wrapped)
"""


OTHERS_SETTINGS = {"floatx": "float64", "epsilon": 1e-3, "backend": "jax", "image_data_format": "channels_first"}
"""Another project's keras.json."""
OTHERS_VARIABLES = {
    "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "all of them", "KERAS_NNX_ENABLED": "1", "TF_USE_LEGACY_KERAS": "1",
}  # fmt: skip
"""And what it has in its environment."""
DROPPED = "stdout cannot be written (No space left on device): its lines are dropped, the work continues"


def home_with(folder: Path, content: bytes | None) -> str:
    """Makes a home with a keras.json; None: a folder of that name, which no process can read as a file."""
    file = folder / "home/.keras/keras.json"
    file.parent.mkdir(parents=True)
    file.mkdir() if content is None else file.write_bytes(content)
    return str(folder / "home")


def config_text(data: Path) -> str:
    """A config whose first epoch ends with step 5."""
    return (
        f"model: {{preset: 2012-code}}\ndata: {{dir: {data}, batch_size: 5, eval_batch_size: 5}}\n"
        "train: {learning_rate: 0.003, log_every: 1, checkpoint_every: 2}\ndevices: {towers: two-cpus}\n"
    )


def checkpoint(run: Path, step: int) -> Path:
    return run / f"checkpoints/step-{step:08d}"


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def back_to(run: Path, step: int) -> None:
    """Removes the later checkpoints, as if the run had been killed before they were saved."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name[5:]) > step:
            shutil.rmtree(path)


def before_validation(run: Path, step: int = 5) -> None:
    """As a run that was killed between the save of an epoch's last step and its validation."""
    back_to(run, step)
    (run / "best.json").unlink()
    from alexnet_tf.runs.records import read_record

    path = checkpoint(run, step)
    update = {"validation_due": True, "top1_error": None, "best_top1_error": None, "epochs_since_best": 0}
    (path / "state.json").write_bytes(read_record(path).model_copy(update=update).to_json())


def made_before_binding(run: Path) -> None:
    """As a run of an earlier version: a state.json of four fields, and nothing that says that there are checkpoints."""
    (run / "saved.json").unlink()
    for path in (run / "checkpoints").glob("step-*/state.json"):
        fields = json.loads(path.read_text())
        path.write_text(
            json.dumps({key: fields[key] for key in ("step", "drops", "best_top1_error", "epochs_since_best")})
        )


def assert_same_bits(one: Path, other: Path, step: int = 9) -> None:
    for name in ("variables.data-00000-of-00001", "state.json"):
        assert (checkpoint(one, step) / name).read_bytes() == (checkpoint(other, step) / name).read_bytes(), name
    assert (one / "best.json").read_bytes() == (other / "best.json").read_bytes()
    assert names(one) == names(other)


def refusal(act: Callable[[], object]) -> str:
    """The one line with which `act` is refused; nothing internal is in it."""
    with pytest.raises(UserError) as fault:
        act()
    line = str(fault.value)
    assert line and "\n" not in line
    assert not [part for part in INTERNAL if part in line], line
    return line


def start(
    arguments: list[str], *, kill: tuple[str, str, int, str] | None = None, before: str = "",
    environment: dict[str, str] | None = None, **options: object,
) -> subprocess.Popen:  # fmt: skip
    """train.py as a process of its own, with the small network.

    Args:
      arguments: of train.py.
      kill: module, function, number of the call and "before" or "after" it, where the process kills itself.
      before: code that is run first.
      environment: variables beside this process's own.
      options: of Popen.
    """
    hook = f"{KILLED_AT}\nkill_at(*{kill!r})\n" if kill else ""
    head, tail = NARROW_COMMAND.rsplit("run_command(", 1)
    code = f"{before}\n{head}{hook}run_command({tail}"
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *arguments], cwd=ROOT, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **(environment or {})},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip
