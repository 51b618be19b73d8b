"""Faults injected into real workers: two processes of the whole program, with the small network.

python -m pytest -m slow tests/faults/test_real_workers.py

On 2 cores the kills at random moments alone take 20 minutes, all others together some 10.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING
from tests.alexnet_tf.training.run_files import steps_of, tensors
from tests.alexnet_tf.workers.cluster_runs import Cluster, alive, four_pictures, popen, told, wait_for_step
from tests.alexnet_tf.workers.watch_program import free_ports
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
STEPS, KILLS = 12, 25
DEAD_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    yield four_pictures(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> dict[str, np.ndarray]:
    cluster.train(2, "undisturbed", f"train.steps={STEPS}")
    return tensors(cluster.folder / "undisturbed", STEPS)


def assert_same_bits(run: Path, undisturbed: dict[str, np.ndarray], steps: int = STEPS) -> None:
    found = tensors(run, steps)
    assert found.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert value.tobytes() == found[name].tobytes(), name


def start_pair(command: list[str], *ports: list[int]) -> list[subprocess.Popen]:
    """Two workers without `start_workers`, so that each one's own status is seen.

    Args:
      command: of both.
      ports: of both, or as the first sees them and as the second does.
    """
    seen = ports if len(ports) == 2 else [ports[0] if ports else free_ports(2)] * 2
    tasks = [
        {"cluster": {"worker": [f"127.0.0.1:{port}" for port in seen[index]]}, "task": {"index": index}}
        for index in range(2)
    ]
    return [popen(command, env={**os.environ, "TF_CONFIG": json.dumps(task)}) for task in tasks]


def wait_for_ends(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    outs = [process.communicate(timeout=180)[1] for process in processes]
    return [(process.returncode, out) for process, out in zip(processes, outs, strict=True)]


def test_main_thread_that_stands_still_is_named(cluster: Cluster, undisturbed: dict[str, np.ndarray]) -> None:
    """Its watch thread beats on; within distribute.timeout nobody would notice."""
    limit = ("distribute.timeout=60", "distribute.stall_timeout=15")
    first, other = start_pair(cluster.command("still", f"train.steps={STEPS}", *limit, changes="stand-still-on-1"))
    for status, errors in wait_for_ends([first, other]):
        assert status == STOPPED_AFTER_SAVING, errors
        [line] = told(errors)
        assert re.match(
            r"worker 1 \(127.0.0.1:\d+\) was given up: it has done nothing for \d+ s since .+ after step 3 ",
            line,
        )
    cluster.train(2, "still", f"train.steps={STEPS}", *limit)  # nor is anybody given up who only compiles
    assert_same_bits(cluster.folder / "still", undisturbed)


class Forwarder:
    """A port that leads to another one, until it swallows what comes: no connection breaks, nothing arrives."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.swallowing = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:  # not there yet
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not self.swallowing:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def test_ports_of_the_collectives_alone_are_dropped(cluster: Cluster) -> None:
    """As by a firewall that lets the watch through: everybody is there, and all wait for each other."""
    ports = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        watch = free.getsockname()[1]
    between = Forwarder(ports[1])
    with between.listener:
        limit = (f"distribute.watch_port={watch}", "distribute.timeout=60", "distribute.stall_timeout=15")
        command = cluster.command("dropped", "train.epochs=1000", *limit, changes="")
        pair = start_pair(command, [ports[0], between.port], ports)
        wait_for_step(cluster, "dropped", 3, pair[0])
        between.swallowing = True
        for status, errors in wait_for_ends(pair):
            assert status == STOPPED_AFTER_SAVING, errors
            [line] = told(errors)
            assert line.startswith("all workers are there and have waited for each other for ")
    shutil.rmtree(cluster.folder / "dropped")


def test_worker_lost_between_a_checkpoints_name_and_what_is_best(
    cluster: Cluster, undisturbed: dict[str, np.ndarray]
) -> None:
    """The first worker's watch ends it only after the save: which checkpoint is best is not forgotten."""
    first, other = start_pair(cluster.command("best", f"train.steps={STEPS}", changes="slow-after-rename"))
    run = cluster.folder / "best"
    wait_until(lambda: (run / "checkpoints/step-00000001").exists(), first)
    assert not run.with_name("best-saved-1").exists()
    other.kill()
    [(status, errors), _] = wait_for_ends([first, other])
    assert status == STOPPED_AFTER_SAVING and "was lost" in errors
    assert run.with_name("best-saved-1").exists()  # written when the whole save had ended
    shutil.rmtree(cluster.folder / "best-traces")
    cluster.train(2, "best", f"train.steps={STEPS}")
    assert_same_bits(run, undisturbed)


def test_port_of_a_worker_taken(cluster: Cluster) -> None:
    ports = free_ports(2)
    with socket.create_server(("127.0.0.1", ports[1])):
        workers = start_pair(cluster.command("taken", changes=""), ports)
        (first, first_errors), (status, errors) = wait_for_ends(workers)
    why = f"127.0.0.1:{ports[1]}, this worker's own address, cannot be opened (Address already in use)"
    assert (first, status) == (FAULT, FAULT)
    for [line] in (told(errors), told(first_errors)):  # nothing from TensorFlow beside it
        assert why in line


def test_dead_proxy_in_the_environment(
    cluster: Cluster, undisturbed: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in DEAD_PROXY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    cluster.train(2, "proxy", f"train.steps={STEPS}", "distribute.stall_timeout=60")
    assert_same_bits(cluster.folder / "proxy", undisturbed)


@pytest.mark.parametrize("seconds", [2, 4, 8, 16])
def test_sigterm_before_the_first_step(cluster: Cluster, seconds: float) -> None:
    """While gathering, loading TensorFlow, building or compiling the whole network: one line each, and 75."""
    run = cluster.folder / f"early {seconds}"
    arguments = cluster.arguments(run.name, f"train.steps={STEPS}", "distribute.timeout=60")
    pair = start_pair([sys.executable, "train.py", *arguments])
    time.sleep(seconds)
    pair[1].send_signal(signal.SIGTERM)
    for status, errors in wait_for_ends(pair):
        assert status == STOPPED_AFTER_SAVING and len(told(errors)) == 1, errors
        assert "stopped by" in errors
    shutil.rmtree(run, ignore_errors=True)


def test_first_process_of_a_container_stops_after_saving(cluster: Cluster) -> None:
    before = ["unshare", "--pid", "--fork", "--map-root-user"]
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("NO NAMESPACES: unshare --pid does not work here")
    process = popen([*before, *cluster.command("container", "train.epochs=1000", changes="")])
    wait_for_step(cluster, "container", 2, process)
    child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    os.kill(int(child), signal.SIGTERM)
    [(status, errors)] = wait_for_ends([process])
    assert status == STOPPED_AFTER_SAVING and "stopped by SIGTERM, saved at step" in errors
    shutil.rmtree(cluster.folder / "container")


def test_kills_at_random_moments(cluster: Cluster) -> None:
    """Of either worker, in one of three ways, at any time from its start on: the same bits as undisturbed."""
    draw = random.Random(2012)
    run, seconds = cluster.folder / "hunted", ("distribute.timeout=20",)
    for hunt in range(KILLS):
        pair = start_pair(cluster.command("hunted", "train.epochs=1000", *seconds, changes=""))
        number, victim = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]), draw.randrange(2)
        if draw.random() < 0.3:  # while it starts
            time.sleep(draw.uniform(0, 12))
        else:  # among steps, validations and saves: every step is an epoch here
            before = latest(run)
            wait_until(lambda before=before: latest(run) > before, pair[0])
            time.sleep(draw.uniform(0, 1))
        pair[victim].send_signal(number)
        hit = time.monotonic()
        while alive(pair[1 - victim].pid):
            assert time.monotonic() - hit < 60
            time.sleep(0.05)
        if number == signal.SIGSTOP:
            pair[victim].kill()
        status, errors = wait_for_ends(pair)[1 - victim]
        print(f"{hunt}: {number.name} to worker {victim}, at step {latest(run)}: {errors}", end="")
        assert status == STOPPED_AFTER_SAVING and len(told(errors)) == 1, errors
    steps = latest(run) + 3
    cluster.train(2, "hunted", f"train.steps={steps}", *seconds)
    cluster.train(2, "calm", f"train.steps={steps}", *seconds)
    assert_same_bits(run, tensors(cluster.folder / "calm", steps), steps)


def latest(run: Path) -> int:
    """The step of the last whole checkpoint; 0 where there is none."""
    return max(steps_of(run), default=0)
