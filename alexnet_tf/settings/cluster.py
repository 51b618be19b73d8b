"""Which processes train together, and which of them this one is. No TensorFlow here: errors are reported at once."""

import json
import os
import socket
import time
from dataclasses import dataclass

from pydantic import ValidationError

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import Config, check_workers, out_of_range
from alexnet_tf.settings.sections import DistributeConfig


@dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
      workers: host:port of each.
      index: this process's place among them.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self.workers)

    @property
    def on_this_host(self) -> list[int]:
        """The indices of the workers that share this one's host, itself among them."""
        host = host_of(self.workers[self.index])
        return [index for index, worker in enumerate(self.workers) if host_of(worker) == host]

    def name(self, index: int) -> str:
        """A worker as messages call it."""
        return f"worker {index} ({self.workers[index]})"


ALONE = Cluster(("this process",), 0)
"""The cluster of a run without workers."""


def find_cluster(config: Config) -> tuple[Config, Cluster]:
    """The workers of a run, and the config with their list in it, wherever the list came from.

    TF_CONFIG in the environment comes first, as Kubernetes' training operators, cloud services and TensorFlow's own
    tutorials set it; then the config's section `distribute`.

    Raises:
      UserError: TF_CONFIG or the list is wrong, or it is unclear which worker this is.
    """
    given = os.environ.get("TF_CONFIG")
    if given:
        workers, index = _of_tf_config(given)
        config = _with_workers(config, workers)
    elif config.distribute.workers:
        workers = config.distribute.workers
        given_index = config.distribute.index
        index = own_index(workers, config.distribute.timeout) if given_index is None else given_index
    else:
        return config, ALONE
    return config, Cluster(workers, index) if len(workers) > 1 else ALONE


def host_of(worker: str) -> str:
    """The host in host:port."""
    return worker.rpartition(":")[0].strip("[]")


def port_of(worker: str) -> int:
    """The port in host:port."""
    return int(worker.rpartition(":")[2])


def watch_port(workers: tuple[str, ...], config: DistributeConfig) -> int:
    """The port on the first worker's host over which all workers watch each other."""
    return config.watch_port or max(port_of(worker) for worker in workers) + 1


def workers_here(workers: tuple[str, ...], field: str, timeout: float) -> list[int]:
    """The indices of the workers whose host is this machine, by its names or by its addresses.

    Args:
      workers: host:port of each.
      field: what they were given in, for the message.
      timeout: seconds to wait for the addresses of names that are not known yet, as a new host's may be.

    Raises:
      UserError: none of them is this machine.
    """
    until = time.monotonic() + timeout
    while True:
        found = {host: _is_this_machine(host) for host in {host_of(worker) for worker in workers}}
        unknown = sorted(host for host, known in found.items() if known is None)
        here = [index for index, worker in enumerate(workers) if found[host_of(worker)]]
        if here:
            return here
        if not unknown or time.monotonic() > until:
            why = f"; {', '.join(unknown)} could not be resolved within {timeout:g} s" if unknown else ""
            raise UserError(
                f"{field}: none of {', '.join(workers)} is this machine ({socket.gethostname()}){why}; list it by its "
                "name or address, or set distribute.index"
            )
        time.sleep(0.5)


def own_index(workers: tuple[str, ...], timeout: float) -> int:
    """Which of the workers this process is; waits so many seconds for names that are not known yet.

    Raises:
      UserError: none of them is on this machine, or more than one is.
    """
    here = workers_here(workers, "distribute.workers", timeout)
    if len(here) > 1:
        raise UserError(
            f"distribute.workers: {len(here)} workers are on this machine; start them with alexnet-tf "
            "start-workers, or set distribute.index for each"
        )
    return here[0]


def _is_this_machine(host: str) -> bool | None:
    """Whether a host is this machine; None: its name has no address, at least not yet."""
    if host in (socket.gethostname(), socket.gethostname().partition(".")[0], socket.getfqdn()):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return any(_is_own_address(family, address) for family, _, _, _, address in found)


def _is_own_address(family: int, address: tuple) -> bool:
    """A machine can open a port on its own addresses only."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True


def _of_tf_config(text: str) -> tuple[tuple[str, ...], int]:
    """The list of workers and this one's index. An older TF_CONFIG names the first worker "chief"."""
    try:
        given = json.loads(text)
        jobs = given.get("cluster", {})
        task = given.get("task", {})
        chiefs = list(jobs.get("chief", jobs.get("master", [])))
        workers = (*chiefs, *jobs.get("worker", []))
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise UserError(
            'TF_CONFIG cannot be read; it must look like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}}: {fault}'
        ) from fault
    if kind not in ("chief", "master", "worker"):
        raise UserError(f"TF_CONFIG: this program has no task of type {kind!r}, only workers")
    if kind == "worker":
        index += len(chiefs)
    if workers and not 0 <= index < len(workers):
        raise UserError(f"TF_CONFIG: {out_of_range(task.get('index', index), len(workers))}")
    return workers or ALONE.workers, index


def _with_workers(config: Config, workers: tuple[str, ...]) -> Config:
    try:
        checked = DistributeConfig.model_validate(
            {**config.distribute.model_dump(), "workers": workers if len(workers) > 1 else (), "index": None}
        )
    except ValidationError as fault:
        wrong = fault.errors()[0]
        raise UserError(f"TF_CONFIG: worker {wrong['input']!r} must read host:port") from fault
    config = config.model_copy(update={"distribute": checked})
    check_workers(config, "TF_CONFIG")
    return config
