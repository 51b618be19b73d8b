"""New versions beneath a running server, and its stop: no request fails."""

import json
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.alexnet_tf.serving.exported_models import Exported, keep_one_warm_up
from tests.alexnet_tf.serving.servers import b64, local_server
from tests.waiting import wait_until

PREDICT = "/v1/models/alexnet:predict"


def test_new_versions_fail_no_request_and_a_stop_finishes_what_is_open(
    program: Exported, quick_models: Path, export_of, stored_pictures: list[bytes], tmp_path: Path
) -> None:
    """Version 1, a broken version 2, then 3 with another net that comes in pieces; then SIGTERM; all under load."""
    models = tmp_path / "alexnet"
    shutil.copytree(quick_models / "1", models / "1")
    body = json.dumps({"signature_name": "probabilities", "instances": [b64(stored_pictures[0])]}).encode()
    answers: list[tuple[int, Any]] = []
    stop = threading.Event()
    with local_server(models, "--poll=0.1", "--grace=20") as server:

        def ask() -> None:
            while not stop.is_set():
                try:
                    status, answer = server.call(PREDICT, body)
                    answers.append((status, tuple(np.round(answer["predictions"][0]["probabilities"], 4))))
                    time.sleep(0.05)
                except OSError as fault:  # only after SIGTERM, when nobody listens any more
                    assert stop.is_set() or stopping.is_set(), fault
                    return

        stopping = threading.Event()
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) > 5)
        (models / "2").mkdir()
        (models / "2" / "saved_model.pb").write_bytes(b"broken")
        states = lambda: server.call("/v1/models/alexnet")[1]["model_version_status"]  # noqa: E731
        wait_until(lambda: any(state["version"] == "2" for state in states()))
        assert [(state["version"], state["state"]) for state in states()] == [("1", "AVAILABLE"), ("2", "END")]
        assert "version 2 cannot be loaded" in states()[1]["status"]["error_message"]
        # Copied in place, the graph before the weights: it cannot be loaded at first, and is tried again.
        source = shutil.copytree(export_of("paper").models / "1", tmp_path / "new")
        keep_one_warm_up(source)
        shutil.copytree(source, models / "3", ignore=shutil.ignore_patterns("variables"))
        wait_until(lambda: any(state["version"] == "3" for state in states()))
        shutil.copytree(source / "variables", models / "3" / "variables")
        wait_until(lambda: states()[0]["version"] == "3")
        assert [(state["version"], state["state"]) for state in states()] == [("3", "AVAILABLE"), ("2", "END")]
        before = len(answers)
        wait_until(lambda: len(answers) > before + 5)
        stopping.set()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=60)
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    files = tf.constant(stored_pictures[:1])
    old, new = (
        tuple(np.round(one.signature("probabilities")(image_bytes=files)["probabilities"].numpy()[0], 4))
        for one in (program, export_of("paper"))
    )
    given = [values for _, values in answers]
    close = [np.allclose(values, old, atol=2e-4) for values in given]
    assert close[0] and not close[-1] and np.allclose(given[-1], new, atol=2e-4)
    assert close == sorted(close, reverse=True) or sum(np.diff(np.array(close, int)) != 0) <= 5  # threads' own order
