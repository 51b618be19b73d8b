"""Workers watching each other, as real processes that do nothing else: who is lost, who is told, how soon."""

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alexnet_tf.workers.watch_program import LONG, SHORT, Start, starter, together

AGAIN = "; start all workers again to resume from the last checkpoint"


def slow(*values: object) -> object:
    """A case that is left to the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as started:
        yield started


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_killed_worker_ends_the_others_at_once_and_is_named(start: Start, lost: int) -> None:
    workers = together(start)
    workers[lost].process.kill()
    before = time.monotonic()
    for worker in workers:
        if worker is not workers[lost]:
            assert worker.end() == (75, f"{workers[lost].name} was lost: its connection broke{AGAIN}\n")
    assert time.monotonic() - before < LONG / 4


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2])
def test_frozen_worker_ends_the_others_in_time_and_is_named(start: Start, lost: int) -> None:
    timeout = 8
    workers = together(start, timeout)
    workers[lost].process.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    for worker in workers:
        if worker is not workers[lost]:
            status, errors = worker.end()
            line = re.escape(workers[lost].name) + rf" was lost: no heartbeat for \d s{AGAIN}\n"
            assert status == 75 and re.fullmatch(line, errors)
    assert time.monotonic() - before < timeout
    workers[lost].process.send_signal(signal.SIGCONT)  # it must not go on alone
    status, errors = workers[lost].end()
    assert status == 75 and errors.startswith("worker ")


@pytest.mark.parametrize(("come", "missing"), [slow([0, 2], [1]), slow([1, 2], [0]), ([0], [1, 2])])
def test_workers_that_never_come_are_named(start: Start, come: list[int], missing: list[int]) -> None:
    before = time.monotonic()
    names = ", ".join(rf"worker {index} \(127\.0\.0\.1:\d+\)" for index in missing)
    workers = start(*come, timeout=SHORT)
    for worker in workers:
        status, errors = worker.end()
        assert status == 75 and re.fullmatch(f"{names} did not connect within {SHORT} s{AGAIN}\n", errors)
    assert time.monotonic() - before >= SHORT


@pytest.mark.slow
def test_watching_takes_no_time(start: Start) -> None:
    def seconds() -> list[float]:
        stats = [Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split() for worker in workers]
        return [(int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") for stat in stats]

    workers = together(start)
    before = seconds()
    time.sleep(2)
    assert all(after - earlier < 0.1 for earlier, after in zip(before, seconds(), strict=True))


@pytest.mark.slow
def test_work_done_is_no_loss(start: Start) -> None:
    workers = together(start)
    for worker in reversed(workers):  # the first may be the last by far, for it saves
        worker.process.stdin.close()
        time.sleep(0.5)
    assert [worker.process.wait(timeout=30) for worker in workers] == [0, 0, 0]
    assert [worker.process.stderr.read() for worker in workers] == ["", "", ""]


@pytest.mark.slow
def test_first_worker_waits_for_the_others_work(start: Start) -> None:
    workers = together(start)
    workers[0].process.stdin.close()
    time.sleep(1)
    assert workers[0].process.poll() is None
    for worker in workers[1:]:
        worker.process.stdin.close()
    assert [worker.process.wait(timeout=30) for worker in workers] == [0, 0, 0]


@pytest.mark.parametrize(
    ("failing", "word", "reason"),
    [(2, "fail", "a label is wrong"), slow(0, "fail", "a label is wrong"), slow(2, "break", "Socket closed")],
)
def test_fault_of_one_ends_all_with_its_reason(start: Start, failing: int, word: str, reason: str) -> None:
    workers = together(start)
    workers[failing].say(word)
    for worker in workers:
        status, errors = worker.end()
        assert status == 1
        if worker is not workers[failing]:
            assert errors == f"error: {workers[failing].name} failed: {reason}\n"
        else:
            assert errors.startswith("error: ") and reason in errors


@pytest.mark.slow
def test_an_exception_after_a_loss_is_told_as_the_loss(start: Start) -> None:
    """As TensorFlow's, when a connection of its own breaks."""
    workers = together(start)
    workers[2].process.kill()
    with contextlib.suppress(BrokenPipeError):
        workers[1].say("break")
    status, errors = workers[1].end()
    assert status == 75 and errors.startswith(workers[2].name + " was lost")


def test_other_config_is_refused_by_name(start: Start) -> None:
    own = ("data.dir=/elsewhere", "devices.threads=3")  # may differ; the mirroring is the preset's own
    workers = [*start(0, 1), *start(2, overrides=("train.seed=5", "augment.mirror=true", *own))]
    for worker in workers:
        status, errors = worker.end()
        assert status == 1
        assert f"train.seed is 0 on {workers[0].name} and 5 on {workers[2].name}; start all with the same" in errors


def test_the_same_worker_twice(start: Start) -> None:
    workers = start(0, 1, 1)
    both = [worker.process for worker in workers[1:]]
    while not (refused := [process for process in both if process.poll() is not None]):
        time.sleep(0.05)
    assert refused[0].returncode == 1 and "worker 1" in refused[0].stderr.read()
    workers = [worker for worker in workers if worker.process not in refused] + start(2)
    for worker in workers:
        worker.wait_for_others()


def test_strangers_do_no_harm(start: Start) -> None:
    (first,) = start(0)
    port = first.port + 3  # after those of three workers
    until = time.monotonic() + LONG
    greetings = (b"GET / HTTP/1.1\r\n\r\n", b'{"worker": 7}\n', b'{"worker": true, "config": {}}\n', b"[]\n", b"")
    with contextlib.ExitStack() as staying:
        for greeting in greetings:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    stranger = socket.create_connection(("127.0.0.1", port))
                    break
                assert time.monotonic() < until
                time.sleep(0.05)
            stranger.sendall(greeting)
            if greeting == b"[]\n":
                staying.enter_context(stranger)
            else:
                stranger.close()
        for worker in start(1, 2):
            worker.wait_for_others()


def test_port_in_use_is_told(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, errors = start(0, overrides=(f"distribute.watch_port={port}",))[0].end()
    assert status == 1 and f"distribute.watch_port: port {port} cannot be opened" in errors
