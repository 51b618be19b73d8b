"""How long a step takes on many GPUs: compute, what the towers exchange, and the all-reduce between workers.

A worker is a pair of GPUs, one tower on each. Workers share the gradient's sum by a ring all-reduce, of which
Patarasuk and Yuan (Journal of Parallel and Distributed Computing 69, 2009) show that none sends less: each of n workers
sends, and receives, 2(n-1)/n times the gradient's bytes.
"""

from dataclasses import dataclass

GPUS_PER_WORKER = 2
LINKS = {
    "PCIe 3.0 x16": 8e9 * 16 * 128 / 130 / 8,
    "PCIe 4.0 x16": 16e9 * 16 * 128 / 130 / 8,
    "NVLink 3": 300e9,
}
"""Bytes/s each way between two GPUs of a host: transfers/s, lanes and 128b/130b coding; NVIDIA's A100 data sheet."""
WIRE_BYTES = {"float32": 4, "bfloat16": 2}


def ring_bytes(workers: int, gradient_bytes: float) -> float:
    """What each worker sends in an all-reduce of `gradient_bytes`; it receives as much."""
    return 2 * (workers - 1) / workers * gradient_bytes


@dataclass(frozen=True)
class Network:
    """What has to travel, read off the network and its placed graph.

    Attributes:
      parameters: how many weights and biases.
      tower_parameters: those of the larger tower.
      crossing_bytes: an image; of the forward and the backward pass the busier direction each, added up.
    """

    parameters: int
    tower_parameters: int
    crossing_bytes: int


@dataclass(frozen=True)
class Step:
    """The parts of one step's time, in seconds."""

    workers: int
    batch: int
    compute: float
    crossings: float
    all_reduce: float

    @property
    def longest(self) -> float:
        """Seconds with each part after the one before."""
        return self.compute + self.crossings + self.all_reduce

    @property
    def shortest(self) -> float:
        """Seconds with the all-reduce wholly beside the rest: no more than this can be hidden."""
        return max(self.compute + self.crossings, self.all_reduce)


@dataclass(frozen=True)
class Cluster:
    """Machines, and how they are used.

    Attributes:
      gpu: its name.
      images_per_second: of one GPU that holds the whole network.
      link: bytes/s each way between two GPUs of a host.
      network: bytes/s each way of a host's network card.
      gpus_per_host: so many share the card.
      wire: the gradients' type on the way, a key of WIRE_BYTES.
    """

    gpu: str
    images_per_second: float
    link: float
    network: float
    gpus_per_host: int = 8
    wire: str = "float32"

    def step(self, gpus: int, batch: int, network: Network) -> Step:
        """One step on 1, 2, 4, 6... GPUs.

        Args:
          gpus: 1, or a multiple of 2.
          batch: images over all workers.
          network: what travels.

        Raises:
          ValueError: an odd number of GPUs.
        """
        if gpus == 1:  # both towers on it
            return Step(1, batch, batch / self.images_per_second, 0.0, 0.0)
        workers, odd = divmod(gpus, GPUS_PER_WORKER)
        if odd:
            raise ValueError(f"{gpus} GPUs are no pairs")
        # The towers' gradients go round in rings of their own, from GPU to GPU. A GPU's link takes that of its tower; a
        # host's card takes both, once for all of the host's workers, as the rings run through a host in one stretch.
        sent = ring_bytes(workers, WIRE_BYTES[self.wire])
        all_reduce = sent * network.tower_parameters / self.link
        if gpus > self.gpus_per_host:
            all_reduce = max(all_reduce, sent * network.parameters / self.network)
        return Step(
            workers,
            batch,
            compute=batch / (gpus * self.images_per_second),
            crossings=batch / workers * network.crossing_bytes / self.link,
            all_reduce=all_reduce,
        )
