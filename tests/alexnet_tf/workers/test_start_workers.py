"""The command that starts a host's workers: what they are told, what comes out of them, how they end together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet_tf import start_workers
from alexnet_tf.program.errors import UserError
from alexnet_tf.workers import local_workers
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
WORKER = "import json, os, signal, sys, time; task = json.loads(os.environ['TF_CONFIG']); own = task['task']['index']; "


def start(code: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "alexnet_tf.start_workers", *options, "--", sys.executable, "-c", WORKER + code]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(code: str, *options: str) -> tuple[int, list[str], list[str]]:
    """Exit status, sorted lines of stdout and of stderr."""
    process = start(code, *options)
    out, errors = process.communicate(timeout=30)
    return process.returncode, sorted(out.splitlines()), sorted(errors.splitlines())


def test_each_is_told_who_it_is_and_its_lines_are_marked() -> None:
    code = "print(task['cluster']['worker'][own]); print('to stderr, no newline', file=sys.stderr, end='')"
    status, out, errors = run(code, "--local", "3")
    assert status == 0
    assert errors == [f"[{index}] to stderr, no newline" for index in range(3)]
    ports = [int(line.removeprefix(f"[{index}] 127.0.0.1:")) for index, line in enumerate(out)]
    assert ports == list(range(ports[0], ports[0] + 3))


def test_of_a_longer_list_those_of_this_machine() -> None:
    status, out, _ = run("print(own)", "--workers", "198.51.100.1:7,127.0.0.1:7,198.51.100.2:7,localhost:8")
    assert status == 0 and out == ["[1] 1", "[3] 3"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param("sys.exit(3 if own == 1 else 0)", 3, marks=pytest.mark.slow),
        # The others end by themselves, told by their watch: theirs is not the status that tells why.
        ("time.sleep(own == 0); sys.exit(4 if own == 1 else 75)", 4),
        pytest.param(
            "os.kill(os.getpid(), 9) if own == 1 else (time.sleep(1), sys.exit(75))", 128 + 9, marks=pytest.mark.slow
        ),
        pytest.param("sys.exit(75)", 75, marks=pytest.mark.slow),
    ],
)
def test_status_of_the_first_failure(code: str, status: int) -> None:
    assert run(code, "--local", "2")[0] == status


def test_who_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_workers, "GRACE_SECONDS", 0.5)
    before = time.monotonic()
    command = [sys.executable, "-c", WORKER + "sys.exit(5) if own else time.sleep(60)"]
    assert start_workers.main(["--local", "2", "--", *command]) == 5
    assert time.monotonic() - before < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signals_reach_all(number: signal.Signals) -> None:
    code = (
        "[signal.signal(n, lambda n, _: (print('got', n), sys.exit(75))) for n in (2, 15)]; "
        "print('ready', flush=True); time.sleep(60)"
    )
    process = start(code, "--local", "2")
    assert sorted(process.stdout.readline() for _ in range(2)) == ["[0] ready\n", "[1] ready\n"]
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 75
    assert sorted(out.splitlines()) == [f"[0] got {number}", f"[1] got {number}"]


def test_killed_itself_it_leaves_nobody_behind() -> None:
    process = start("print(os.getpid(), flush=True); time.sleep(60)", "--local", "2")
    pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    process.kill()
    process.communicate(timeout=20)
    wait_until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--workers", "198.51.100.1:7,198.51.100.2:7", "--", "true"],
            "none of 198.51.100.1:7, 198.51.100.2:7 is this machine",
        ),
        (["--workers", "here", "--", "true"], "'here' must read host:port"),
        (["--local", "2", "--", "/no/such/program"], "/no/such/program cannot be started: No such file"),
    ],
)
def test_faults(arguments: list[str], told: str) -> None:
    with pytest.raises(UserError) as fault:
        start_workers.main(arguments)
    assert told in str(fault.value)


@pytest.mark.parametrize("arguments", [[], ["--local", "0", "--", "true"], ["--local", "2"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        start_workers.main(arguments)
    assert ended.value.code == 2
