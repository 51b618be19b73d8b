"""The files in deploy/ agree with each other and with the messages and limits they configure."""

import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
BATCHING_FIELDS = {  # of BatchingParameters in TensorFlow Serving's session_bundle_config.proto
    "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads", "thread_pool_name",
    "enable_large_batch_splitting", "max_execution_batch_size", "allowed_batch_sizes", "pad_variable_length_inputs",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["alexnet"]


@pytest.fixture(scope="module")
def pod() -> dict:
    deployment, *_ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return deployment["spec"]["template"]["spec"]


def test_models_config_is_a_model_server_config() -> None:
    config = text_format.Parse((DEPLOY / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("alexnet", "/models/alexnet", "tensorflow")


def test_batching_config_names_known_fields_and_splits_at_the_batch() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "batching.config").read_text())
    fields = dict(re.findall(r"^(\w+) \{ value: (\w+) \}$", text, re.MULTILINE))
    assert len(fields) == len([line for line in text.splitlines() if line.strip()])
    assert set(fields) <= BATCHING_FIELDS
    assert fields["max_batch_size"] == fields["max_execution_batch_size"]


def test_compose_and_kubernetes_start_the_same_server(compose: dict, pod: dict) -> None:
    (container,) = pod["containers"]
    assert compose["command"] == container["args"] and compose["entrypoint"] == container["command"]
    flags = [flag.split("=")[0] for flag in compose["entrypoint"][1:] + compose["command"]]
    explained = (DEPLOY / "README.md").read_text()
    assert not [flag for flag in flags if f"`{flag}" not in explained]
    version = re.search(r":-([\d.]+)}", compose["image"])[1]
    assert container["image"] == f"tensorflow/serving:{version}"


def test_every_settings_file_is_there(compose: dict, pod: dict) -> None:
    named = [flag.split("=")[1] for flag in compose["command"] if "config" in flag.split("=")[1]]
    head = (DEPLOY / "kubernetes.yaml").read_text()
    for path in named:
        file = DEPLOY / path.removeprefix("/config/")
        assert file.is_file() and f"--from-file=deploy/{file.name}" in head
    assert len(named) == 3


def test_services_reach_the_pods(pod: dict) -> None:
    deployment, service, budget = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                     budget["spec"]["selector"]["matchLabels"]):  # fmt: skip
        assert selector == labels
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports) == {"grpc", "rest"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


@contextmanager
def answering(content: str) -> Iterator[int]:
    """A server on this machine that answers every GET with this text; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *arguments: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def status_of(*states: tuple[str, str, str]) -> str:
    """A model's status as TensorFlow Serving prints it, of versions with (state, code of the error, its message)."""
    told = [
        {"version": str(number), "state": state, "status": {"error_code": code, "error_message": message}}
        for number, (state, code, message) in enumerate(states, 1)
    ]
    return json.dumps({"model_version_status": told}, indent=1)


READY = ("AVAILABLE", "OK", "")


@pytest.mark.parametrize(
    ("content", "ready"),
    [
        (status_of(READY), True),
        (status_of(("END", "UNAVAILABLE", 'the "AVAILABLE" one'), READY), True),
        (status_of(("LOADING", "OK", "")), False),
        (status_of(("UNAVAILABLE", "OK", "")), False),
        (status_of(("END", "UNAVAILABLE", "UNAVAILABLE: Socket closed")), False),
        (status_of(("END", "UNKNOWN", 'no "AVAILABLE" version, "state": "AVAILABLE" is wanted')), False),
        (status_of(), False),
        ('{ "error": "Could not find any versions of model alexnet" }', False),
    ],
)
def test_health_checks_take_only_a_version_that_is_ready(compose: dict, pod: dict, content: str, ready: bool) -> None:
    """The very commands, run by bash, on what a server answers."""
    (container,) = pod["containers"]
    probe = container["readinessProbe"]["exec"]["command"]
    kind, *check = compose["healthcheck"]["test"]
    assert (kind, check) == ("CMD", probe)
    with answering(content) as port:
        command = [part.replace("/8501", f"/{port}") for part in probe]
        assert command != probe
        assert (subprocess.run(command, check=False, timeout=60).returncode == 0) is ready


def test_a_server_that_is_not_there_is_not_ready(pod: dict) -> None:
    with answering("") as port:
        pass
    (container,) = pod["containers"]
    command = [part.replace("/8501", f"/{port}") for part in container["readinessProbe"]["exec"]["command"]]
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode != 0
