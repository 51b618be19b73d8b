"""How commands end: exit statuses and one line on stderr."""

import argparse
import io
from collections.abc import Callable

import pytest
import tensorflow as tf

from alexnet_tf.program.errors import StoppedBySignal, UserError, run_command
from tests.heard_signals import signals_restored


@pytest.fixture(autouse=True)
def no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALEXNET_DEBUG", raising=False)
    monkeypatch.setattr("sys.argv", ["some command", "a", "b"])


def status_of(main: Callable[[list[str]], int]) -> object:
    with signals_restored(), pytest.raises(SystemExit) as end:
        run_command(main)
    return end.value.code


def raising(fault: BaseException) -> Callable[[list[str]], int]:
    def main(argv: list[str]) -> int:
        raise fault

    return main


@pytest.mark.parametrize("status", [0, 1])
def test_status_is_what_main_returns(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(lambda argv: status) == status
    assert capsys.readouterr().err == ""


def test_main_gets_the_arguments() -> None:
    assert status_of(lambda argv: 0 if argv == ["a", "b"] else 3) == 0


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (UserError("data/x is missing; make it"), 1, "error: data/x is missing; make it\n"),
        (StoppedBySignal("saved at step 3"), 75, "saved at step 3\n"),
        (KeyboardInterrupt(), 75, "interrupted; nothing was left half-written\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fault_is_told_in_one_line(
    fault: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(raising(fault)) == status
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            OSError(24, "Too many open files", "x/y"),
            "x/y: Too many open files; raise the limit on open files (ulimit -n)",
        ),
        (OSError(28, "No space left on device"), "No space left on device; free some space"),
        (OSError(36, "File name too long", "x"), "x: File name too long; choose a shorter path"),
        (PermissionError(13, "Permission denied", "x/y"), "x/y: Permission denied; let this user into it"),
        (OSError(95, "Operation not supported", "x"), "x: Operation not supported"),
        (
            ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn.config"),
            "the Python package uvicorn is not installed: pip install 'alexnet-tf[serve]'",
        ),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "the Python package yaml is not installed"),
        (MemoryError(), "there is not enough memory: lower data.batch_size"),
        (
            tf.errors.ResourceExhaustedError(None, None, "{{function_node f}} OOM when allocating tensor [Op:x]"),
            "there is not enough memory: lower data.batch_size",
        ),
        (tf.errors.InternalError(None, None, "{{function_node f}} it broke [Op:f]"), "TensorFlow failed: it broke"),
    ],
)
def test_what_no_code_has_put_into_words_names_nothing_internal(
    fault: Exception, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(raising(fault)) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {told}") and "Error" not in line and "{{" not in line and line.count("\n") == 1


@pytest.mark.parametrize("fault", [ValueError("first\nsecond"), RuntimeError()])
def test_unforeseen_fault_is_told_in_one_line_too(fault: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(raising(fault)) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and type(fault).__name__ in line and "--debug" in line


@pytest.mark.parametrize("fault", [UserError("x"), ValueError("y")])
@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_lets_the_fault_through(fault: Exception, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "option":
        monkeypatch.setattr("sys.argv", ["some command", "a", "--debug", "b"])
    else:
        monkeypatch.setenv("ALEXNET_DEBUG", "1")
    with signals_restored(), pytest.raises(type(fault)):
        run_command(raising(fault))


def test_debug_does_not_reach_main(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["some command", "a", "--debug", "b"])
    assert status_of(lambda argv: 0 if argv == ["a", "b"] else 3) == 0


def test_debug_behind_two_dashes_is_for_the_command_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `alexnet-tf start-workers --local 2 -- alexnet-tf train ... --debug`: the workers are to hear of it."""
    line = ["--local", "2", "--", "alexnet-tf", "train", "--debug"]
    monkeypatch.setattr("sys.argv", ["start-workers", *line])
    assert status_of(lambda argv: 0 if argv == line else 3) == 0
    assert status_of(raising(UserError("x"))) == 1  # told in one line
    monkeypatch.setattr("sys.argv", ["start-workers", "--debug", *line])
    assert status_of(lambda argv: 0 if argv == line else 3) == 0
    with signals_restored(), pytest.raises(UserError):
        run_command(raising(UserError("x")))


def test_help_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    assert status_of(raising(SystemExit(0))) == status_of(raising(SystemExit())) == 0
    monkeypatch.setattr("sys.stdout", Full())
    assert status_of(raising(SystemExit(0))) == 1
    assert capsys.readouterr().err == "error: stdout cannot be written: No space left on device\n"


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: list[str]) -> int:
        argparse.ArgumentParser(prog="x").parse_args(argv)
        return 0

    assert status_of(main) == 2
    assert "unrecognized arguments: a b" in capsys.readouterr().err
