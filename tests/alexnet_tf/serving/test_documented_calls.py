"""The commands of deploy/README.md as they stand there, by a real shell, with a photograph of usual size."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import export
from alexnet_tf import client, serve
from alexnet_tf.program.errors import UserError
from tests.alexnet_tf.serving.exported_models import Exported
from tests.alexnet_tf.serving.servers import ROOT, Server
from tests.closeness import WHOLE_NETWORK, assert_close

PAGE = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
LONGEST_ARGUMENT = 128 * 1024
"""Bytes of one argument, on Linux."""


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A JPEG file of 3 megapixels with as much noise as a camera's."""
    draw = np.random.default_rng(0)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((2000, 1500))
    noisy = np.asarray(coarse, np.int16) + draw.integers(-12, 13, (1500, 2000, 3), np.int16)
    pixels = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_curl(server: Server, program: Exported, photograph: bytes, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("NO CURL: it is not on the PATH")
    assert len(photograph) > 4 * LONGEST_ARGUMENT
    (tmp_path / "cat.jpg").write_bytes(photograph)
    (tmp_path / ".curlrc").write_text(f"silent\nconnect-to = localhost:8501:{server.rest}\n")
    (commands,) = [
        block for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "curl" in block
    ]
    environment = {**os.environ, "CURL_HOME": str(tmp_path), "no_proxy": "*"}
    told = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, timeout=300)
    assert told.returncode == 0, told.stderr
    predicted, classified = map(json.loads, re.split(r"(?<=})(?={)", told.stdout.decode()))
    expected = program.signature("serving_default")(image_bytes=tf.constant([photograph]))
    (answer,) = predicted["predictions"]
    names = [name.decode() for name in expected["classes"].numpy()[0]]
    assert answer["status"] == "ok" and answer["classes"] == names
    assert_close(answer["scores"], expected["scores"].numpy()[0], WHOLE_NETWORK)
    (pairs,) = classified["results"]
    assert [name for name, _ in pairs] == names


def test_client(server: Server, photograph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat.jpg", "dog.png"):
        Path(name).write_bytes(photograph)
    (arguments,) = arguments_of("-m alexnet_tf.client")
    assert client.main([argument.replace("localhost:8500", server.grpc) for argument in arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["cat.jpg", "dog.png"]


@pytest.mark.parametrize(
    ("program", "main", "fault"),
    [("export.py", export.main, "no run"), ("-m alexnet_tf.serve", serve.main, "cannot be served")],
)
def test_options_are_known(program: str, main: Callable, fault: str, tmp_path: Path, monkeypatch) -> None:
    """What is named is not there, which a command tells only once it has understood its line."""
    monkeypatch.chdir(tmp_path)
    for arguments in arguments_of(program):
        own_ports = ["--rest-port", "0", "--grpc-port", "0"] if main is serve.main else []  # the usual may be in use
        with pytest.raises(UserError, match=fault):
            main([*arguments, *own_ports])


def arguments_of(program: str) -> list[list[str]]:
    """Those that the page gives a program."""
    found = re.findall(rf"^(?:`)?python {program} ([^`\n]+)", PAGE, re.MULTILINE)
    assert found
    return [shlex.split(one, comments=True) for one in found]
