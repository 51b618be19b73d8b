"""Lines of progress where there is no terminal, by a clock that the test moves."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tf.program.progress_lines import Lines, in_words

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
from alexnet_tf.program.progress_lines import progress_bar
with progress_bar(40, desc="work") as bar:
    for _ in range(40):
        bar.update()
"""


class Clock:
    """Stands still until the test moves it."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def slow_steps(total: int, seconds: float, count: int, **options: object) -> Callable[[], int]:
    """So many steps of so many seconds each."""
    clock = Clock()
    lines = Lines(total, now=clock, **options)
    for _ in range(count):
        clock.time += seconds
        lines.update()
    return lines


def test_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    slow_steps(100_000, 7.0, 20, desc="loss 2.3")
    lines = told(capsys)
    assert len(lines) == 4  # after 35, 70, 105 and 140 seconds
    assert lines[-1] == "loss 2.3: 20 of 100,000 img (0%), 0.14 img/s, 8 days 2 h left"


def test_every_percent(capsys: pytest.CaptureFixture[str]) -> None:
    slow_steps(1000, 0.5, 100)
    lines = told(capsys)
    assert len(lines) == 10
    assert lines[0].startswith("10 of 1,000 img (1%), ") and lines[1].startswith("20 of 1,000 img (2%), ")


def test_at_most_one_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    slow_steps(200, 0.01, 200).close()
    lines = told(capsys)
    assert len(lines) == 2 and lines[-1] == "200 of 200 img (100%), 100 img/s, 0 s left"


def test_no_percents_where_none_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    slow_steps(100, 2.0, 16, by_percent=False)
    assert len(told(capsys)) == 1


def test_goes_on_where_it_stood(capsys: pytest.CaptureFixture[str]) -> None:
    """What was done before does not count as done now: 100 of 1000 in 100 s leave 400 s."""
    slow_steps(1000, 1.0, 101, initial=500).close()
    assert told(capsys)[-1] == "601 of 1,000 img (60%), 1 img/s, 7 min left"


def test_nothing_done_is_nothing_told(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(0).close()
    Lines(10, initial=10).close()
    assert told(capsys) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (3599, "1 h 0 min"), (7260, "2 h 1 min"),
     (100_000, "27 h 47 min"), (200_000, "2 days 7 h")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_who_reads_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    os.close(readable)
    with os.fdopen(writable, "w", buffering=1) as broken:
        for stream in (broken, None):
            monkeypatch.setattr(sys, "stderr", stream)
            slow_steps(10, 40.0, 10).close()
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            broken.close()


def test_a_pipe_gets_lines_and_a_terminal_a_bar() -> None:
    command = [sys.executable, "-c", PROGRAM]
    piped = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=True, timeout=60).stderr
    assert piped.startswith("work: 40 of 40 img (100%)") and piped.count("\n") == 1 and "\r" not in piped
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, cwd=ROOT, stderr=theirs):
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # how a terminal's end is told
            pass
    os.close(ours)
    assert b"\r" in shown and "█".encode() in shown
