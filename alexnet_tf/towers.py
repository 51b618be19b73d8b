"""Which device tower a and tower b live on."""

import os
from dataclasses import dataclass, replace

import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.cluster import ALONE, Cluster
from alexnet_tf.settings.sections import DevicesConfig


@dataclass(frozen=True)
class Towers:
    """The devices of tower a and tower b, as tf.device takes them; None: wherever TensorFlow puts it."""

    a: str | None
    b: str | None
    filtering: bool = True
    """Whether convolutions that a processor trains are filtered where that is faster: see `networks.winograd`."""

    @staticmethod
    def unplaced() -> "Towers":
        """No device at all, as an export needs it."""
        return Towers(None, None)


def on_cpu(device: str | None) -> bool:
    """Whether a device is a processor; None, which stands for any device, may be one."""
    return device is None or "CPU" in device


CHOICES = {
    "two-gpus": Towers("/device:GPU:0", "/device:GPU:1"),
    "one-gpu": Towers("/device:GPU:0", "/device:GPU:0"),
    "two-cpus": Towers("/device:CPU:0", "/device:CPU:1"),
    "one-cpu": Towers("/device:CPU:0", "/device:CPU:0"),
}


def set_up_towers(config: DevicesConfig, cluster: Cluster = ALONE) -> Towers:
    """Readies the devices that the config asks for and says which they are.

    Without GPUs the processor is split into two logical devices, so that placement, sends and receives are the same
    as with two GPUs. Call it before TensorFlow has used any device; a later call succeeds if the devices are there.

    Raises:
      UserError: fewer GPUs than asked for.
    """
    gpus = _take_own_gpus(cluster)
    choice = config.towers
    if choice == "auto":
        choice = "two-gpus" if gpus >= 2 else "one-gpu" if gpus == 1 else "two-cpus"
    needed = {"two-gpus": 2, "one-gpu": 1}.get(choice, 0)
    if gpus < needed:
        raise UserError(f"devices.towers: {choice} needs {needed} GPUs, TensorFlow sees {gpus}; use auto or two-cpus")
    try:
        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # leave memory that this run does not need
        if choice == "two-cpus":
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        tf.config.threading.set_intra_op_parallelism_threads(config.threads or _threads_inside_operations(choice))
    except RuntimeError:
        if choice == "two-cpus" and len(tf.config.list_logical_devices("CPU")) < 2:
            raise
    return replace(CHOICES[choice], filtering=config.filtering)


def gpu_names() -> list[str]:
    """What the GPUs that this process may use are called."""
    gpus = tf.config.get_visible_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]


def _threads_inside_operations(choice: str) -> int:
    """Where there is a core for each tower and no more, each works by itself; 0 stands for TensorFlow's choice."""
    return 1 if choice == "two-cpus" and len(os.sched_getaffinity(0)) <= 2 else 0


def _take_own_gpus(cluster: Cluster) -> int:
    """Leaves the other workers' GPUs alone; returns how many this one may use.

    Where there are fewer than two for each worker of this host, they have been given out already: batch systems show
    each process its own GPUs only.
    """
    gpus = tf.config.list_physical_devices("GPU")
    here = cluster.on_this_host
    if len(here) > 1 and len(gpus) >= 2 * len(here):
        first = 2 * here.index(cluster.index)
        gpus = gpus[first : first + 2]
        tf.config.set_visible_devices(gpus, "GPU")
    return len(gpus)
