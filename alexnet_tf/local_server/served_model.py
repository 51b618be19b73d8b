"""A model's folder, served: the newest version loaded, newer ones taken up while requests go on."""

import contextlib
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_status_pb2, prediction_log_pb2

from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.examples import read_examples
from alexnet_tf.serving.metadata import read_metadata
from alexnet_tf.serving.versions import how_to_get_one, version_folders
from alexnet_tf.serving.warm_up import read_warm_up

Arrays = dict[str, np.ndarray]
State = get_model_status_pb2.ModelVersionStatus
DEFAULT_SIGNATURE = "serving_default"


class LoadedVersion:
    """One version in memory. It lives on while a request holds it.

    It runs in a session of TensorFlow 1, as in TensorFlow Serving: what functions of TensorFlow 2 once ran, TensorFlow
    keeps until the process ends, here 50 MB for each version however small its net.
    """

    def __init__(self, folder: Path) -> None:
        self.number = int(folder.name)
        self.description = read_metadata(folder)
        """For the page; read now, for the folder may be gone by then."""
        self.examples = read_examples(folder)
        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        """To be closed by whoever knows that no request holds this version any more."""
        self.refused_rows: dict[str, Arrays | None] = {}
        """By signature, for `screening.py`."""
        try:
            with graph.as_default(), _without_advice():
                loaded = tf.compat.v1.saved_model.load(self.session, [tf.saved_model.SERVING], str(folder))
            self.signatures: dict[str, meta_graph_pb2.SignatureDef] = {
                name: one for name, one in loaded.signature_def.items() if not name.startswith("__")
            }
            for log in read_warm_up(folder):
                self.run(*_warm_up_call(log))
        except BaseException:
            self.session.close()
            raise

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The signature of this name; "" stands for serving_default.

        Raises:
          RequestError: the model has no such signature.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise RequestError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found')
        return self.signatures[name]

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Runs a signature on whole inputs."""
        wanted = self.signatures[signature]
        outputs = {name: wanted.outputs[name].name for name in sorted(wanted.outputs)}
        return self.session.run(outputs, {wanted.inputs[name].name: array for name, array in inputs.items()})


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """A context without TensorFlow's advice against what it calls deprecated."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _warm_up_call(log: prediction_log_pb2.PredictionLog) -> tuple[str, Arrays]:
    if log.HasField("classify_log"):
        request = log.classify_log.request
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        return request.model_spec.signature_name, {"inputs": np.array(examples, object)}
    request = log.predict_log.request
    return request.model_spec.signature_name, {name: tf.make_ndarray(one) for name, one in request.inputs.items()}


FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds until a version that could not be loaded is tried again with the same files, doubled each time: what was
missing may have been memory."""


class _Failure(NamedTuple):
    """A version that could not be loaded, and its files then: it is tried again when they change, or after a pause."""

    files: list[tuple[str, int, int]]
    reason: str
    pause: float
    tried: float
    """By time.monotonic()."""

    def stands(self, files: list[tuple[str, int, int]]) -> bool:
        """Whether it need not be tried again yet."""
        return self.files == files and time.monotonic() < self.tried + self.pause


class ServedModel:
    """The newest version of a model's folder, under the model's name."""

    def __init__(self, name: str, folder: Path) -> None:
        """Loads the newest version.

        Raises:
          UserError: there is none, or it cannot be loaded.
        """
        self.name = name
        self.folder = folder
        self._loaded: LoadedVersion | None = None
        self._failed: dict[int, _Failure] = {}
        self._replaced: list[tuple[weakref.ref[LoadedVersion], tf.compat.v1.Session]] = []
        """Replaced versions, as long as a request holds them, and their sessions."""
        self.load_newest()
        if self._loaded is None:
            reason = next(iter(self.failures), f"no version in it; {how_to_get_one(folder)}")
            raise UserError(f"model {folder} cannot be served: {reason}")

    def load_newest(self) -> int | None:
        """Loads the newest version if it is not loaded yet; the one before serves until then, and if this fails.

        Returns:
          The version's number if it is a new one.
        """
        found = version_folders(self.folder)
        self._failed = {number: failure for number, failure in self._failed.items() if number in found}
        for number, folder in reversed(found.items()):
            if self._loaded is not None and number == self._loaded.number:
                return None
            files = _files_of(folder)
            failed = self._failed.get(number)
            if failed is not None and failed.stands(files):
                continue
            try:
                loaded = LoadedVersion(folder)
            except Exception as fault:  # whatever is wrong with a version, the one that serves goes on
                reason = f"version {number} cannot be loaded: {_first_line(fault)}"
                again = failed is not None and failed.files == files
                pause = min(2 * failed.pause, LONGEST_PAUSE) if failed is not None and again else FIRST_PAUSE
                self._failed[number] = _Failure(files, reason, pause, time.monotonic())
                continue
            self._failed.pop(number, None)
            if self._loaded is not None:
                self._replaced.append((weakref.ref(self._loaded), self._loaded.session))
            self._loaded = loaded
            return number
        return None

    def free_replaced(self) -> None:
        """Frees the memory of replaced versions that no request holds any more.

        A graph's objects refer to each other in circles, which Python would find only after many more requests.
        """
        replaced, self._replaced = self._replaced, []
        while replaced:
            version, session = replaced.pop()
            if version() is None:
                session.close()
                del session
                gc.collect()
            else:
                self._replaced.append((version, session))

    @property
    def failures(self) -> list[str]:
        """Why versions could not be loaded, a line for each."""
        return [failure.reason for failure in self._failed.values()]

    @property
    def number(self) -> int:
        """The version that serves."""
        assert self._loaded is not None
        return self._loaded.number

    def version(self, name: str, number: int | None) -> LoadedVersion:
        """The version that a request asks for; None asks for the one that serves.

        Raises:
          RequestError: another model, or a version that is not loaded.
        """
        loaded = self._loaded
        assert loaded is not None
        if name != self.name or number not in (None, loaded.number):
            wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise RequestError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return loaded

    def status(self, name: str, number: int | None) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of all versions or of one, as ModelService gives it.

        Raises:
          RequestError: another model or an unknown version.
        """
        loaded = self._loaded
        assert loaded is not None
        states = [State(version=loaded.number, state=State.AVAILABLE)]
        for failed, failure in sorted(self._failed.items(), reverse=True):
            status = {"error_code": 2, "error_message": failure.reason}
            states.append(State(version=failed, state=State.END, status=status))
        if name != self.name:
            raise RequestError("NOT_FOUND", f"Could not find any versions of model {name}")
        chosen = [state for state in states if number in (None, state.version)]
        if not chosen:
            raise RequestError("NOT_FOUND", f"Could not find version {number} of model {name}")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=chosen)

    def watch(self, stop: threading.Event, seconds: float, report: Callable[[str], None]) -> None:
        """Looks for new versions until `stop` is set; `report` gets a line for each that is taken up or fails.

        Whatever happens in one look, the next one comes: files may vanish or be unreadable while it looks at them.
        """
        reported = ""
        while not stop.wait(seconds):
            try:
                self._look(report)
                reported = ""
            except Exception as fault:
                trouble = f"warning: {self.folder} cannot be looked through for new versions: {_first_line(fault)}"
                if trouble != reported:
                    report(f"{trouble}; it is tried again every {seconds:g} s")
                reported = trouble

    def _look(self, report: Callable[[str], None]) -> None:
        self.free_replaced()
        failures = self.failures
        number = self.load_newest()
        for failure in self.failures:
            if failure not in failures:
                report(f"{failure}; the version before it serves on")
        if number is not None:
            report(f"version {number} of {self.name} serves now")


def _files_of(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file; what vanishes meanwhile is left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            with contextlib.suppress(OSError):
                stat = os.stat(path) if os.path.exists(path) else os.lstat(path)  # the latter of a broken link
                found.append((path, stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def _first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]
