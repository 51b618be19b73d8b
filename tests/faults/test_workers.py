"""Faults among workers, injected into real processes that watch over each other; none of these loads TensorFlow."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_tf import start_workers
from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING, UserError
from alexnet_tf.settings.cluster import find_cluster
from alexnet_tf.settings.config import parse_config
from alexnet_tf.workers import local_workers
from alexnet_tf.workers.together import check_own_port
from tests.alexnet_tf.workers.watch_program import LONG, SHORT, Start, Worker, starter, together
from tests.heard_signals import hear_signals
from tests.slow_cases import slow

ROOT = Path(__file__).resolve().parents[2]
AGAIN = "; start all workers again to resume from the last checkpoint\n"
FIRST_PROCESS = ("unshare", "--pid", "--fork", "--map-root-user")
BRACKETS = b'{"worker": 1, "config": ' + b"[" * 60_000 + b"\n"


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as started:
        yield started


def knock(port: int) -> socket.socket:
    """A stranger's connection to the first worker, once that listens."""
    until = time.monotonic() + 20
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port))
        assert time.monotonic() < until
        time.sleep(0.05)


def ended(workers: list[Worker]) -> list[tuple[int, str]]:
    return [worker.end() for worker in workers]


class TestStrangers:
    def test_whatever_they_send_they_do_no_harm(self, start: Start) -> None:
        (first,) = start(0)
        port = first.port + 3
        greetings = [
            BRACKETS, b"[" * 60_000, b'{"worker": 1, "config": {"train": 5}}\n', b'{"worker": 1, "config": {}}\n',
            b'{"worker": 1e999, "config": {}}\n', b"1" * 5000 + b"\n", b"\0" * 3000 + b"\n", b"\xff\xfe\n",
            b'{"end": "all of you", "status": 0}\n', b'{"done": 1}\n', b'{"beat": "x"}\n', b"x" * (3 << 20),
        ]  # fmt: skip
        with contextlib.ExitStack() as staying:
            for greeting in greetings:
                stranger = staying.enter_context(knock(port))
                with contextlib.suppress(OSError):
                    stranger.sendall(greeting)
            for _ in range(200):  # who say nothing, and stay
                staying.enter_context(knock(port))
            others = start(1, 2)
            for worker in (first, *others):
                worker.wait_for_others()
        for worker in (first, *others):
            worker.process.stdin.close()
        assert ended([first, *others]) == [(0, "")] * 3

    def test_one_that_claims_a_workers_place_is_told_of(self, start: Start) -> None:
        (first,) = start(0, timeout=SHORT, count=2)
        with knock(first.port + 2) as stranger:
            stranger.sendall(b'{"worker": 1, "config": {}}\n')
            answer = stranger.makefile().readlines()
        status, errors = first.end()
        why = f"127.0.0.1 said to be worker 1 (127.0.0.1:{first.port + 1}), with a config of other fields"
        assert (
            status == STOPPED_AFTER_SAVING and errors.count("\n") == 1 and "did not connect" in errors and why in errors
        )
        assert any(why in json.loads(line).get("end", "") for line in answer)

    def test_a_workers_place_with_nonsense_in_it_ends_all_with_a_line(self, start: Start) -> None:
        """Nothing guards the port: who knows the config may sit there, but no thread dies without a word."""
        first, other = start(0, 1)
        config = parse_config("", "", ["data.batch_size=12", f"distribute.timeout={LONG}"]).model_dump(mode="json")
        config["distribute"]["workers"] = [f"127.0.0.1:{first.port + index}" for index in range(3)]
        with knock(first.port + 3) as stranger:
            stranger.sendall(json.dumps({"worker": 2, "config": config}).encode() + b"\n")
            first.wait_for_others()
            other.wait_for_others()
            stranger.sendall(b'{"beat": "of a drum"}\n')
            for status, errors in ended([first, other]):
                assert status == FAULT and errors.count("\n") == 1
                assert f"{first.name} cannot keep watch any more: a worker's heartbeat holds of a drum" in errors


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["distribute.workers=['a:65535', 'b:2']"], "distribute.workers: the port after 65535"),
        (["distribute.workers=['a:65536', 'b:2']"], "port 65536 of a:65536 is above 65535"),
        (["distribute.workers=['a:0', 'b:2']"], "a:0"),
        (["distribute.workers=['a:1', 'b:2']", "distribute.watch_port=65536"], "distribute.watch_port"),
        (["distribute.workers=['a:1', 'b:2']", "distribute.watch_port=0"], "distribute.watch_port"),
        (["distribute.workers=['a:1', 'b:2']", "distribute.watch_port=1"], "1 is the port of a:1, a worker"),
    ],
)
def test_ports_that_cannot_be(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError) as fault:
        parse_config("", "some.yaml", overrides)
    assert told in str(fault.value) and "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"cluster": {"chief": ["a:1"]}, "task": {"type": "worker"}}', "TF_CONFIG: index 1 is out of range"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}}', "TF_CONFIG: distribute.workers: a:1 is listed twice"),
        ('{"cluster": {"worker": ["a:1", 5]}}', "TF_CONFIG: worker 5 must read host:port"),
        ('{"cluster": {"worker": "a:1"}}', "TF_CONFIG: worker 'a' must read host:port"),
        ('{"cluster": {"worker": {"0": "a:1", "1": "b:1"}}}', "TF_CONFIG: worker '0' must read"),
        ('{"cluster": []}', "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": null}}', "TF_CONFIG cannot be read"),
        ("5", "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": "x"}}', "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1e999}}', "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": null}}', "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": ["worker"]}}', "TF_CONFIG: this program has no"),
        ("[" * 100_000, "TF_CONFIG cannot be read"),
    ],
)
def test_tf_config_that_cannot_be(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError) as fault:
        find_cluster(parse_config("", "", []))
    line = str(fault.value)
    assert line.startswith(told) and "\n" not in line and "Error" not in line and len(line) < 500


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_own_port_that_is_taken(host: str, family: socket.AddressFamily) -> None:
    try:
        taken = socket.create_server((host.strip("[]"), 0), family=family)
    except OSError:
        pytest.skip("NO IPv6 on this machine")
    with taken:
        own = f"{host}:{taken.getsockname()[1]}"
        config = parse_config("", "", [f"distribute.workers=['{own}', '{host}:1']", "distribute.index=0"])
        with pytest.raises(UserError, match=f"{re.escape(own)}, this worker's own address, cannot be opened"):
            check_own_port(find_cluster(config)[1])


def test_a_free_port_for_the_watch_lets_workers_have_the_highest() -> None:
    overrides = ["distribute.workers=['a:65535', 'b:2']", "distribute.watch_port=3"]
    assert parse_config("", "some.yaml", overrides).distribute.watch_port == 3


class TestNames:
    def test_first_worker_needs_no_name_of_its_own(self, start: Start) -> None:
        """Its record may come later than it does: the others, who need it, are waited for."""
        (first,) = start(0, timeout=SHORT, hosts={0: "not-yet.invalid"})
        status, errors = first.end()
        assert status == STOPPED_AFTER_SAVING
        assert re.fullmatch(r"worker 1 \(.+\), worker 2 \(.+\) did not connect within 2 s; .+\n", errors)

    def test_others_ask_for_it_until_their_time_is_up(self, start: Start) -> None:
        before = time.monotonic()
        (other,) = start(1, timeout=SHORT, hosts={0: "not-yet.invalid"})
        status, errors = other.end()
        assert status == STOPPED_AFTER_SAVING and time.monotonic() - before > SHORT
        assert errors.startswith("worker 0 (not-yet.invalid:") and "has a name that could not be resolved" in errors

    def test_name_that_can_never_be_is_refused_at_once(self, start: Start) -> None:
        (other,) = start(1, hosts={0: "a" * 64 + ".example"})
        status, errors = other.end()
        assert status == FAULT and errors.count("\n") == 1 and "is no name of a host" in errors

    def test_own_name_that_is_not_known_is_waited_for(self) -> None:
        config = parse_config("", "", ["distribute.workers=['x.invalid:1', '198.51.100.1:1']", "distribute.timeout=2"])
        before = time.monotonic()
        with pytest.raises(UserError, match=r"this machine .*; x\.invalid could not be resolved within 2 s; list it"):
            find_cluster(config)
        assert time.monotonic() - before > SHORT

    def test_record_that_comes_late(self, start: Start, tmp_path: Path) -> None:
        hosts = tmp_path / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        mount = ["mount", "--bind", str(hosts), "/etc/hosts"]
        before = ("unshare", "--mount", "--map-root-user", "sh", "-c", f'{" ".join(mount)} && exec "$@"', "sh")
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("NO NAMESPACES: unshare --mount with another /etc/hosts does not work here")
        workers = start(0, 1, 2, hosts={0: "late.invalid"}, before=before)
        time.sleep(2)
        assert [worker.process.poll() for worker in workers] == [None] * 3
        with hosts.open("a") as file:
            file.write("127.0.0.1 late.invalid\n")
        for worker in workers:
            worker.wait_for_others()


class TestStandstill:
    """The watch beats on in its own thread beside a main thread that does nothing."""

    STALL = "distribute.stall_timeout=3"

    @pytest.mark.parametrize("still", [1, *slow(0)])
    def test_who_stands_still_is_named_and_ends_all(self, start: Start, still: int) -> None:
        workers = together(start, overrides=(self.STALL,))
        before = time.monotonic()
        for index, worker in enumerate(workers):
            worker.say("steps 2")
            worker.say("stand" if index == still else "wait")
        for status, errors in ended(workers):
            assert status == STOPPED_AFTER_SAVING
            line = re.escape(workers[still].name) + " was given up: it has done nothing for [3-6] s since step 1 "
            assert re.fullmatch(line + rf"\(distribute\.stall_timeout\){AGAIN}", errors)
        assert time.monotonic() - before < 10

    def test_all_wait_for_each_other(self, start: Start) -> None:
        """As where the ports of the collectives are dropped on the way, and that of the watch is not."""
        workers = together(start, overrides=(self.STALL,))
        for worker in workers:
            worker.say("wait")
        for status, errors in ended(workers):
            assert status == STOPPED_AFTER_SAVING and errors.count("\n") == 1
            assert errors.startswith("all workers are there and have waited for each other for ")
            assert "see that each can reach the ports of all others" in errors

    def test_long_work_is_no_standstill(self, start: Start) -> None:
        workers = together(start, overrides=(self.STALL,))
        for worker, work in zip(workers, ("compile 4", "steps 30", "wait"), strict=True):
            worker.say(work)
        time.sleep(4.5)
        assert [worker.process.poll() for worker in workers] == [None] * 3

    @pytest.mark.slow
    def test_compilation_without_end_is_a_standstill(self, start: Start) -> None:
        workers = together(start, overrides=("distribute.stall_timeout=2",))
        for worker, work in zip(workers, ("wait", "compile 60", "wait"), strict=True):
            worker.say(work)
        for status, errors in ended(workers):
            assert status == STOPPED_AFTER_SAVING and re.search(r" for (19|2\d) s ", errors), errors


def test_line_is_told_while_stderr_is_silent(start: Start) -> None:
    """As it is while TensorFlow is loaded."""
    first, other, third = together(start)
    first.say("load")
    time.sleep(0.5)
    third.process.kill()
    assert first.end() == other.end() == (STOPPED_AFTER_SAVING, f"{third.name} was lost: its connection broke{AGAIN}")


class TestSaves:
    @pytest.mark.parametrize("by", ["another's death", *slow("another's fault")])
    def test_what_ends_a_worker_lets_its_save_finish(self, start: Start, tmp_path: Path, by: str) -> None:
        first, other, third = together(start)
        first.say(f"save {tmp_path / 'file'} 4")
        time.sleep(0.5)
        third.process.kill() if by == "another's death" else third.say("fail")
        assert other.end()[0] == first.end()[0] == (STOPPED_AFTER_SAVING if by == "another's death" else FAULT)
        assert (tmp_path / "file").read_text() == "whole"

    @pytest.mark.slow
    def test_a_save_that_stands_still_is_given_up(self, start: Start, tmp_path: Path) -> None:
        first, _, third = together(start, overrides=(TestStandstill.STALL,))
        before = time.monotonic()
        first.say(f"save {tmp_path / 'file'} 60")
        third.process.kill()
        assert first.end()[0] == STOPPED_AFTER_SAVING and 3 < time.monotonic() - before < 12


class TestStopped:
    LINE = "stopped by SIGTERM before the first step; the same command starts again from where the run stands\n"

    @pytest.mark.parametrize("number", [signal.SIGTERM, *slow(signal.SIGHUP, signal.SIGINT)])
    def test_while_gathering(self, start: Start, number: signal.Signals) -> None:
        first, other = start(0, 1)
        other.wait_for("gathering")
        first.wait_for("gathering")
        time.sleep(1)
        first.process.send_signal(number)
        line = self.LINE.replace("SIGTERM", number.name)
        assert first.end() == (STOPPED_AFTER_SAVING, line)
        assert other.end() == (STOPPED_AFTER_SAVING, f"{first.name} was {line}")

    def test_as_the_first_process_of_a_container(self, start: Start) -> None:
        """To which Linux delivers only signals that have a handler."""
        if subprocess.run([*FIRST_PROCESS, "true"], capture_output=True).returncode:
            pytest.skip("NO NAMESPACES: unshare --pid does not work here")
        (first,) = start(0, before=FIRST_PROCESS)
        first.wait_for("gathering")
        self._terminate_child(first.process)
        assert first.end() == (STOPPED_AFTER_SAVING, self.LINE)

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("{ready}; time.sleep(60)", "stopped by SIGTERM before the work began\n"),
            (
                "from alexnet_tf.program.errors import run_command; run_command(lambda _: {ready} or time.sleep(60))",
                "interrupted; nothing was left half-written\n",
            ),
        ],
        ids=["while modules are imported", "at work"],
    )
    def test_any_command_as_the_first_process_of_a_container(self, code: str, told: str) -> None:
        if subprocess.run([*FIRST_PROCESS, "true"], capture_output=True).returncode:
            pytest.skip("NO NAMESPACES: unshare --pid does not work here")
        code = "import alexnet_tf, time; " + code.format(ready="print('ready', flush=True)")
        pipe = subprocess.PIPE
        command = [*FIRST_PROCESS, sys.executable, "-c", code]
        with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            self._terminate_child(process)
            _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (STOPPED_AFTER_SAVING, told)

    def test_signals_that_follow_each_other_disturb_no_cleaning_up(self, tmp_path: Path) -> None:
        """Ctrl-C twice, a supervisor that is in a hurry, a terminal that closes: one end, one line, one status."""
        code = (
            "import sys, time; from pathlib import Path; from alexnet_tf.program.errors import run_command\n"
            "def main(argv):\n"
            "    try: print('ready', flush=True); time.sleep(60)\n"
            "    finally: time.sleep(0.6); Path(argv[0]).touch()\n"
            "run_command(main)"
        )
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code, tmp_path / "cleaned"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, preexec_fn=hear_signals
        ) as process:
            assert process.stdout.readline() == "ready\n"
            for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                process.send_signal(number)
                time.sleep(0.1)
            _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (STOPPED_AFTER_SAVING, "interrupted; nothing was left half-written\n")
        assert (tmp_path / "cleaned").exists()

    def _terminate_child(self, process: subprocess.Popen) -> None:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)


class TestStartWorkers:
    SAVING = (
        "import json, os, signal, sys, time; own = json.loads(os.environ['TF_CONFIG'])['task']['index']; "
        "save = lambda *_: (time.sleep({seconds} if own == 0 else 0), open('{file}', 'a').write(f'{{own}} saved;'), "
        "sys.exit(75)); [signal.signal(n, save) for n in (2, 15)]; print('ready', flush=True); time.sleep(300)"
    )

    def start(self, code: str, **options: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "alexnet_tf.start_workers", "--local", "2", "--", sys.executable, "-c", code]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": hear_signals}
        return subprocess.Popen(command, cwd=ROOT, **{**pipe, **options})

    @pytest.mark.parametrize("seconds", [2, *slow(20, 40)])
    @pytest.mark.parametrize("number", [signal.SIGTERM, *slow(signal.SIGHUP)])
    def test_a_signal_lets_the_slowest_save_finish(self, tmp_path: Path, seconds: int, number: signal.Signals) -> None:
        process = self.start(self.SAVING.format(seconds=seconds, file=tmp_path / "file"))
        assert {process.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
        process.send_signal(number)
        _, errors = process.communicate(timeout=seconds + 30)
        assert (process.returncode, errors) == (STOPPED_AFTER_SAVING, "")
        assert (tmp_path / "file").read_text() == "1 saved;0 saved;"

    @pytest.mark.parametrize(
        "work", ["[time.sleep(0.1) or sum(range(3000000)) for _ in range(25)]",
                 "[time.sleep(0.1) or open('/dev/null', 'wb').write(bytes(200000)) for _ in range(25)]"],
        ids=["computing", "writing"],
    )  # fmt: skip
    def test_grace_counts_from_the_last_sign_of_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
    ) -> None:
        monkeypatch.setattr(local_workers, "GRACE_SECONDS", 1.5)
        code = f"import os, time; own = '\"index\": 0' in os.environ['TF_CONFIG']; own or os._exit(3); {work}; " + (
            f"open('{tmp_path / 'file'}', 'w').write('whole')"
        )
        assert start_workers.main(["--local", "2", "--", sys.executable, "-c", code]) == 3
        assert (tmp_path / "file").read_text() == "whole"

    def test_a_frozen_one_is_killed_soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_workers, "FROZEN_SECONDS", 1.0)
        code = "import os; os.kill(os.getpid(), 19) if '\"index\": 0' in os.environ['TF_CONFIG'] else os._exit(3)"
        before = time.monotonic()
        assert start_workers.main(["--local", "2", "--", sys.executable, "-c", code]) == 3
        assert time.monotonic() - before < 20

    def test_a_reader_that_leaves(self, tmp_path: Path) -> None:
        """`start_workers ... | head -1`, and stderr into a file that takes nothing."""
        code = "import sys; [print(n, flush=True) or print(n, file=sys.stderr, flush=True) for n in range(2000)]; " + (
            f"open('{tmp_path}/{{}}'.format(__import__('os').getpid()), 'w')"
        )
        with open("/dev/full", "w") as full:
            process = self.start(code, stderr=full)
            assert process.stdout.readline().endswith("] 0\n")
            process.stdout.close()
            assert process.wait(timeout=60) == 0
        assert len(list(tmp_path.iterdir())) == 2  # both came to their end

    def test_a_reader_that_leaves_is_told_of_once(self) -> None:
        process = self.start("[print(n, flush=True) for n in range(2000)]")
        with process:
            process.stdout.close()
            assert process.stderr.read() == (
                "stdout cannot be written (Broken pipe): its lines are dropped, the work continues\n"
            )
        assert process.returncode == 0

    def test_a_shell_between_hears_signals_too(self, tmp_path: Path) -> None:
        if shutil.which("sh") is None:
            pytest.skip("NO SHELL")
        code = self.SAVING.format(seconds=1, file=tmp_path / "file").replace("'", '"')
        shell = ["sh", "-c", f"{sys.executable} -c '{code}'; exit $?"]
        process = subprocess.Popen(
            [sys.executable, "-m", "alexnet_tf.start_workers", "--local", "2", "--", *shell],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            assert {process.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
            process.send_signal(signal.SIGTERM)
        assert process.returncode == STOPPED_AFTER_SAVING
        assert sorted((tmp_path / "file").read_text().split(";")) == ["", "0 saved", "1 saved"]
