"""What workers do together in a training step and around it: average, sum, agree, start with the same weights.

`OneWorker` is a single process: it leaves everything as it is and adds nothing to any graph. `ManyWorkers` is built on
tf.distribute.MultiWorkerMirroredStrategy, which connects the processes. The sums are collective operations on each
tower's own device: the strategy's `all_reduce` would bring all gradients of a worker to its first device and back.
"""

import hashlib
import os
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from alexnet_tf.pictures.share import WHOLE, Share
from alexnet_tf.program.activity import ACTIVITY
from alexnet_tf.program.errors import UserError, WorkerLost
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.cluster import ALONE, Cluster, host_of, port_of
from alexnet_tf.settings.sections import DistributeConfig
from alexnet_tf.towers import Towers
from alexnet_tf.workers.ending import AGAIN
from tfrecords.manifest import Manifest
from tfrecords.statistics import Statistics

HOST = "/device:CPU:0"
STOP = "stop"
"""Among a step's figures: the share of the workers that have got a signal."""
WITHOUT_PROXY = "no_grpc_proxy"
"""gRPC's variable for the hosts that are reached directly."""


Tensors = dict[str, tf.Tensor]
"""By their names."""


class TowerTensor(NamedTuple):
    """A tensor that one tower has computed for a variable of its own."""

    name: str
    """The name of the variable."""
    tower: str
    """"a" or "b"."""
    tensor: tf.Tensor
    exact: bool = False
    """Whether it must not be rounded on its way, however gradients travel."""


class OneWorker:
    """A process that trains alone."""

    index = 0
    share: Share = WHOLE

    def dropout_seed(self, seed: int) -> int:
        """The seed of this worker's dropout, given the run's."""
        return seed

    def average(self, values: list[TowerTensor], figures: Tensors) -> tuple[Tensors, Tensors]:
        """Means over all workers, in the step's graph: of values on their own tower's device, of figures on the first.

        Args:
          values: in the order in which the step uses them last.
          figures: means over this worker's images, scalars on the first device, by their names.

        Returns:
          The values' means by their names, and what `read_figures` reads the figures' means from.
        """
        return {value.name: value.tensor for value in values}, figures

    def read_figures(self, step_output: Tensors, signal: int | None) -> dict[str, float]:
        """The figures in what a step gave out, by their names.

        Args:
          step_output: what `average` made of the figures.
          signal: the signal that this process has got; the others learn of it with the next step.
        """
        return {name: float(figure) for name, figure in step_output.items()}

    def should_stop(self, signal: int | None) -> bool:
        """Whether to stop after the step under way; all workers decide alike."""
        return signal is not None

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sums over all workers, float64 (n,)."""
        return numbers

    def broadcast_from_first(self, numbers: np.ndarray) -> np.ndarray:
        """The first worker's numbers, float64 (n,)."""
        return numbers

    def start_with_same_weights(self, variables: dict[str, tf.Variable]) -> None:
        """Gives the variables the values that they have on the first worker, to the last bit."""

    def check_same_data(self, manifest: Manifest, statistics: Statistics) -> None:
        """Sees that all workers have the same data.

        Raises:
          UserError: this worker's are others than the first one's.
        """


class ManyWorkers(OneWorker):
    """One of several processes that train together. All of them must call its methods, and in the same order.

    Args:
      cluster: who they are.
      towers: this worker's devices.
      config: how gradients travel.
    """

    def __init__(self, cluster: Cluster, towers: Towers, config: DistributeConfig) -> None:
        self.index = cluster.index
        self.share = Share(cluster.index, cluster.size)
        self.cluster = cluster
        self.devices = {"a": towers.a or HOST, "b": towers.b or HOST, "host": HOST}
        self.wire_type = tf.bfloat16 if config.gradient_dtype == "bfloat16" else None
        _wait_for_names(cluster, config.timeout)
        check_own_port(cluster)
        _bypass_proxies(cluster)
        self.strategy = _connect(cluster, towers)
        self.instances: dict[str, int] = {}
        """Numbers of what is sent, by its name, in the order of first use: the same on all workers."""
        with tf.device(HOST):
            self.stop = tf.Variable(0.0, trainable=False)
            """1 once this process has got a signal."""
        self.agreed_to_stop = False

    def dropout_seed(self, seed: int) -> int:
        return own_seed(seed, f"worker {self.index}") if self.index else seed

    def average(self, values: list[TowerTensor], figures: Tensors) -> tuple[Tensors, Tensors]:
        with tf.device(self.devices["a"]), tf.name_scope("loss_a/all_reduce"):
            sent = [*figures.values(), tf.cast(self.stop, next(iter(figures.values())).dtype)]
            output = self._reduced(f"figures {len(sent)}", tf.stack(sent), "a", "Div")
            step_output = dict(zip((*figures, STOP), tf.unstack(output), strict=True))
        means: Tensors = {}
        last = {self.devices["a"]: output}
        for name, tower, value, exact in reversed(values):  # those of the last layers are there first
            device = self.devices[tower]
            # NCCL must be given its operations in the same order everywhere.
            before = [last[device]] if device in last and _is_gpu(device) else []
            with tf.device(device), tf.name_scope(f"update/{name}/all_reduce"), tf.control_dependencies(before):
                sent = value if self.wire_type is None or exact else tf.cast(value, self.wire_type)
                last[device] = self._reduced(name, sent, tower, "Div")
                means[name] = tf.cast(last[device], value.dtype)
        return {value.name: means[value.name] for value in values}, step_output

    def read_figures(self, step_output: Tensors, signal: int | None) -> dict[str, float]:
        with ACTIVITY.together():
            figures = {name: float(figure) for name, figure in step_output.items()}
        self.agreed_to_stop |= figures.pop(STOP) > 0
        if signal is not None:
            self.stop.assign(1.0)
        return figures

    def should_stop(self, signal: int | None) -> bool:
        return self.agreed_to_stop

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        with ACTIVITY.together():
            return self._total(tf.constant(numbers, tf.float64)).numpy()

    def broadcast_from_first(self, numbers: np.ndarray) -> np.ndarray:
        [value] = self._from_first_worker({f"numbers {numbers.shape}": tf.constant(numbers, tf.float64)})
        return value.numpy()

    def start_with_same_weights(self, variables: dict[str, tf.Variable]) -> None:
        # Sent, not summed up with zeros: a sum would turn -0.0 into 0.0.
        for variable, value in zip(variables.values(), self._from_first_worker(variables), strict=True):
            variable.assign(value)

    def check_same_data(self, manifest: Manifest, statistics: Statistics) -> None:
        digest = hashlib.sha256(manifest.model_dump_json().encode())
        for values in vars(statistics).values():
            digest.update(np.ascontiguousarray(values).tobytes())
        own = np.frombuffer(digest.digest(), np.uint16).astype(np.float64)
        if (self.broadcast_from_first(own) != own).any():
            raise UserError(
                f"{self.cluster.name(self.index)} has other records in data.dir than {self.cluster.name(0)}, or another"
                " mean image; give all workers the same"
            )

    def _from_first_worker(self, values: Mapping[str, tf.Tensor | tf.Variable]) -> list[tf.Tensor]:
        """The first worker's values, on the host; their names are the same on all workers."""

        @tf.function(autograph=False)
        def sent_or_received() -> list[tf.Tensor]:
            with tf.device(HOST):
                return [self._sent_or_received(f"first {name}", value) for name, value in values.items()]

        with ACTIVITY.together():
            return sent_or_received()

    def _sent_or_received(self, name: str, value: tf.Tensor | tf.Variable) -> tf.Tensor:
        keys = {
            "group_size": self.cluster.size, "group_key": self._group("host"), "instance_key": self._instance(name)
        }  # fmt: skip
        if self.index == 0:
            return tf.raw_ops.CollectiveBcastSendV2(input=tf.convert_to_tensor(value), **keys)
        return tf.raw_ops.CollectiveBcastRecvV2(T=value.dtype, shape=value.shape, **keys)

    @tf.function(autograph=False)
    def _total(self, numbers: tf.Tensor) -> tf.Tensor:
        with tf.device(HOST):
            return self._reduced(f"sum {numbers.shape}", numbers, "host", "Id")

    def _reduced(self, name: str, value: tf.Tensor, group: str, final: str) -> tf.Tensor:
        """The sum over all workers, divided by their number where `final` is "Div"."""
        return tf.raw_ops.CollectiveReduceV2(
            input=value,
            group_size=self.cluster.size,
            group_key=self._group(group),
            instance_key=self._instance(name),
            ordering_token=[],
            merge_op="Add",
            final_op=final,
            communication_hint="nccl" if _is_gpu(self.devices[group]) else "ring",
        )

    def _group(self, name: str) -> int:
        """The number of a group of devices that work together: a tower's of all workers, or all hosts."""
        return 1 + list(self.devices).index(name)

    def _instance(self, name: str) -> int:
        return self.instances.setdefault(name, 1 + len(self.instances))


ONE_WORKER = OneWorker()


def join(cluster: Cluster, towers: Towers, config: DistributeConfig) -> OneWorker:
    """Connects this process with the other workers, if there are any. Comes before TensorFlow uses a device."""
    return ONE_WORKER if cluster is ALONE else ManyWorkers(cluster, towers, config)


def _wait_for_names(cluster: Cluster, timeout: float) -> None:
    """Returns when the addresses of all workers are known: a new host's name may come later than the host itself."""
    until = time.monotonic() + timeout
    for index, worker in enumerate(cluster.workers):
        while index != cluster.index:
            ACTIVITY.mark("a look for names")
            try:
                socket.getaddrinfo(host_of(worker), port_of(worker), type=socket.SOCK_STREAM)
                break
            except OSError as fault:
                if time.monotonic() > until:
                    raise WorkerLost(
                        f"{cluster.name(index)} has a name that could not be resolved ({fault.strerror}) on "
                        f"{cluster.name(cluster.index)} within {timeout:g} s; {AGAIN}"
                    ) from fault
                time.sleep(0.2)


def check_own_port(cluster: Cluster) -> None:
    """Sees that this worker's port is free: of one that is not TensorFlow tells in three lines of C++.

    Raises:
      UserError: it is taken.
    """
    try:
        own = cluster.workers[cluster.index]
        family = socket.AF_INET6 if ":" in host_of(own) else socket.AF_INET
        socket.create_server(("", port_of(own)), family=family).close()
    except OSError as fault:
        raise _own_port_taken(cluster, os.strerror(fault.errno or 0)) from fault


def _own_port_taken(cluster: Cluster, why: str) -> UserError:
    return UserError(
        f"distribute.workers: {cluster.workers[cluster.index]}, this worker's own address, cannot be opened ({why}); "
        "free its port or list another"
    )


def _bypass_proxies(cluster: Cluster) -> None:
    """Keeps gRPC, which heeds http_proxy, from sending gradients to a proxy."""
    before = os.environ.get(WITHOUT_PROXY, os.environ.get("no_proxy", ""))  # gRPC heeds one of them
    hosts = sorted({host_of(worker) for worker in cluster.workers})
    os.environ[WITHOUT_PROXY] = ",".join([before, *hosts] if before else hosts)


def _connect(cluster: Cluster, towers: Towers) -> tf.distribute.MultiWorkerMirroredStrategy:
    from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
    from tensorflow.python.eager import context

    # The workers keep watch over each other by themselves (workers.watch). TensorFlow's own two ways to do so, which
    # no public setting turns off, give up after fixed times and end a process with pages of C++.
    CollectiveAllReduceExtended._enable_check_health = False
    context.context().configure_coordination_service(service_type="")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        # One replica a worker, whatever the number of its devices: both towers are one network.
        num_accelerators={"GPU": 1} if _is_gpu(towers.a or "") else {},
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.UnknownError as fault:
        raise _own_port_taken(cluster, fault.message) from fault


def _is_gpu(device: str) -> bool:
    return "GPU" in device
