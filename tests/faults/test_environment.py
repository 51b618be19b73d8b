"""What other projects leave in the environment: settings of Keras, a proxy. Each in a real process of its own."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from PIL import Image

from alexnet_tf.program import checkout
from tests.alexnet_tf.training.run_files import tensors
from tests.faults.broken_runs import DROPPED, OTHERS_SETTINGS, OTHERS_VARIABLES, assert_same_bits, home_with
from tests.narrow_nets import NARROW_COMMAND
from tests.one_end import at_the_newer_end

ROOT = Path(__file__).resolve().parents[2]
SHOW_SETTINGS = """
import sys
from alexnet_tf.networks import alexnet
import keras, os
b = keras.backend
print(b.backend(), b.floatx(), b.image_data_format(), b.epsilon(), keras.mixed_precision.global_policy().name,
      os.environ.get("KERAS_HOME"))
"""
OWN_SETTINGS = "tensorflow float32 channels_last 1e-07 float32"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture
def home(tmp_path: Path) -> Callable[[bytes | None], str]:
    return lambda content: home_with(tmp_path, content)


@pytest.mark.slow  # what is killed in test_checkpoints.py runs so, too
def test_training_under_anothers_settings_with_stdout_on_a_full_disk_has_the_same_bits(
    tmp_path: Path, config: Path, finished: Path, home: Callable[[bytes], str]
) -> None:
    """Two faults that have nothing to do with each other, for a process takes its time: to the end of an epoch."""
    run, steps = tmp_path / "run", 5
    settings = {"HOME": home(json.dumps(OTHERS_SETTINGS).encode()), **OTHERS_VARIABLES}
    command = ["train", "--config", str(config), "--run", str(run), f"train.steps={steps}"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", NARROW_COMMAND, *command], cwd=ROOT, env={**os.environ, **settings},
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines().count(DROPPED) == 1
    found, expected = tensors(run, steps), tensors(finished, steps)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].tobytes() == value.tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{{{", id="no JSON"),
        pytest.param(b'{"floatx": "float8", "epsilon": 1}', id="unknown values"),
        pytest.param(b"\xff\xfe[", id="no text"),
        pytest.param(None, id="unreadable"),
    ],
)
def test_broken_keras_json_does_no_harm(home: Callable[[bytes | None], str], content: bytes | None) -> None:
    ended = python("-c", SHOW_SETTINGS, HOME=home(content))
    assert (ended.returncode, ended.stdout) == (0, f"{OWN_SETTINGS} None\n"), ended.stderr


@pytest.mark.slow
def test_the_users_keras_home_stays_theirs(home: Callable[[bytes], str]) -> None:
    """Downloads of a notebook go there, after this project's import as before it."""
    where = home(json.dumps(OTHERS_SETTINGS).encode())
    after = "print(getattr(sys.modules.get('keras.src.backend.config'), '_KERAS_DIR', os.environ['HOME']))"
    ended = python("-c", SHOW_SETTINGS + after, HOME=where)
    assert ended.stdout.splitlines()[-1].startswith(where), ended.stderr


@pytest.mark.slow
@at_the_newer_end  # Keras 2 draws nothing
def test_drawing_of_keras_is_loaded_when_it_is_used(tmp_path: Path) -> None:
    program = (
        "import sys, alexnet_tf, keras, numpy\n"
        "assert 'matplotlib' not in sys.modules\n"
        "gray = numpy.full((2, 8, 8, 3), 0.5)\n"
        "keras.visualization.plot_image_gallery(gray, value_range=(0, 1), rows=1, cols=2, path=sys.argv[1])\n"
    )
    ended = python("-c", program, str(tmp_path / "gallery.png"), MPLBACKEND="Agg")
    assert ended.returncode == 0 and (tmp_path / "gallery.png").stat().st_size > 0, ended.stderr


@pytest.mark.slow
def test_notebook_that_imported_keras_first(home: Callable[[bytes], str]) -> None:
    settings = {**OTHERS_SETTINGS, "backend": "tensorflow"}
    first = "import keras; assert keras.backend.floatx() == 'float64'; keras.layers.Dense(1);"
    ended = python("-c", first + SHOW_SETTINGS, HOME=home(json.dumps(settings).encode()))
    assert (ended.returncode, ended.stdout) == (0, f"{OWN_SETTINGS} None\n"), ended.stderr


@pytest.mark.slow
def test_bfloat16_where_onednn_was_told_to_leave_it_alone(tmp_path: Path, config: Path) -> None:
    command = ["train", "--config", str(config), "--run", str(tmp_path / "run"), "train.precision=bfloat16"]
    ended = python("-c", NARROW_COMMAND, *command, ONEDNN_MAX_CPU_ISA="AVX2")
    if ended.returncode == 75 or ended.returncode == 0:
        pytest.skip("NO REFUSAL: TensorFlow's own convolutions compute in bfloat16 here")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "error: train.precision=bfloat16 needs convolutions of the library oneDNN, which ONEDNN_MAX_CPU_ISA=AVX2 "
        "forbids it: unset that variable, or set train.precision=float32"
    )


def test_a_process_that_reads_names_in_another_encoding() -> None:
    """TensorFlow takes them for UTF-8, and would write to another folder."""
    ended = python(
        "train.py", "--config", "configs/demo.yaml", "--run", "runs/ä",
        PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "has letters that this process reads as ascii, not as UTF-8; set PYTHONUTF8=1\n" in ended.stderr
    assert ended.stderr.startswith("error: --run ") and ended.stderr.count("\n") == 1


def test_a_clock_that_is_set_back(
    run_at_4: Path, resume: Callable[..., None], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(2e9, -1000)
    monkeypatch.setattr(time, "time", lambda: next(now))
    resume(run_at_4)
    assert_same_bits(run_at_4, finished)


DEAD_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


class NoSuchModel(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b'{"error": "here is the server"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_rest_client_asks_no_proxy_for_this_machine(picture: str, host: str) -> None:
    with HTTPServer(("127.0.0.1", 0), NoSuchModel) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        ended = ask(f"{host}:{server.server_port}", "--rest", picture)
        server.shutdown()
    assert ended.returncode == 1 and "answers NOT_FOUND" in ended.stderr and "here is the server" in ended.stderr


@pytest.mark.parametrize("host", ["localhost", pytest.param("127.0.0.1", marks=pytest.mark.slow)])
def test_grpc_client_asks_no_proxy_for_this_machine(picture: str, host: str) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = ask(f"{host}:{port}", "--grpc", picture)
    server.stop(None)
    assert ended.returncode == 1 and "answers UNIMPLEMENTED" in ended.stderr, ended.stderr


def ask(server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The client, where the environment names a proxy that is not there."""
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return subprocess.run(
        [sys.executable, "-m", "alexnet_tf.client", "--server", server, "--retries=1", "--timeout=20", *arguments],
        cwd=ROOT, env={**environment, **DEAD_PROXY}, capture_output=True, text=True,
    )  # fmt: skip


def test_backend_of_a_notebooks_terminal() -> None:
    code = "import alexnet_tf.evaluation.figures, os; print(os.environ['MPLBACKEND'])"
    ended = python("-c", code, MPLBACKEND="module://not_installed.here")
    assert (ended.returncode, ended.stdout) == (0, "module://not_installed.here\n"), ended.stderr


def test_commit_of_this_checkout_inside_a_hook_of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = checkout.commit()
    if expected is None:
        pytest.skip("NO CHECKOUT: this is not a folder of git")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert checkout.commit() == expected


def test_installed_inside_another_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a .venv there: the commit is the other project's."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    package = tmp_path / ".venv/alexnet_tf"
    package.mkdir(parents=True)
    for name in ("own.py", ".venv/alexnet_tf/__init__.py"):
        (tmp_path / name).touch()
    for line in (["init", "--quiet"], ["add", "own.py"], ["commit", "--quiet", "-m", "theirs"]):
        subprocess.run([*git, *line], check=True)
    monkeypatch.setattr(checkout, "ROOT", package)
    assert checkout.commit() is None


CLOSED_STREAMS = """
import os, sys, alexnet_tf
from tqdm import tqdm
with tqdm(total=1, disable=None) as bar:
    bar.update()
    bar.write('a line')
print(sys.stdin.read(), file=sys.stderr, flush=True)
os._exit(open(os.devnull).fileno())
"""


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_take_no_files_number_and_end_no_command(closed: str) -> None:
    """The next file opened would be the one that errors are written to, and a progress bar would find no stream."""
    command = f'exec "{sys.executable}" -c "{CLOSED_STREAMS}" {closed}'
    ended = subprocess.run(["sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL)
    assert ended.returncode == 3
