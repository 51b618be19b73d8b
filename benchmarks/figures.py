"""Figures that projections start from: what this project measured, and what others published for other AlexNets.

Nothing here is derived: each entry holds what its source states, and rates are computed from that.
"""

import math
from dataclasses import dataclass

from benchmarks.flops import LayerWork

TRAINING_IMAGES = 1_281_167
"""Of ILSVRC-2012."""
EPOCHS = 90
"""Paper section 5, and both full-length configs."""


@dataclass(frozen=True)
class Measured:
    """A figure of docs/RESULTS.md, written as it stands there."""

    value: float
    what: str


MEASURED = {
    "step": Measured(86.7, "images/s of the training step on 2 cores, preset paper, batch 128"),
    "jpeg": Measured(4821, "images/s of the input for the device on 2 cores, photographs; presets do not differ in it"),
    "jpeg_bytes": Measured(30_739, "bytes of a converted picture"),
}
MEASURED_CORES = 2
MEASURED_BATCH = 128

SOURCES = {
    "paper": "Krizhevsky, Sutskever and Hinton, NIPS 2012, section 5",
    "krizhevsky-2014": "[Krizhevsky 2014](https://arxiv.org/abs/1404.5997)",
    "caffe": "[BVLC/caffe](https://github.com/BVLC/caffe/blob/rc/docs/performance_hardware.md)",
    "convnet": "[convnet-benchmarks](https://github.com/soumith/convnet-benchmarks) (b458aab)",
    "tensorflow": "[TensorFlow's benchmarks]"
    "(https://github.com/tensorflow/docs/blob/master/site/en/r1/guide/performance/benchmarks.md), May 2017",
    "lambda": "[Lambda](https://github.com/lambdal/lambda-tensorflow-benchmark) (e086e0e), 2021",
}

TWO_TOWERS = "this one: two towers, LRN"
GROUPED = "two groups, LRN after pooling (CaffeNet)"
WEIRD_TRICK = "one tower (64-192-384-256-256)"
TF_BENCHMARK = "one tower (64-192-384-384-256), no LRN"
WIDTHS = {WEIRD_TRICK: (64, 192, 384, 256, 256), TF_BENCHMARK: (64, 192, 384, 384, 256)}
"""Kernels of conv1 to conv5."""


@dataclass(frozen=True)
class Published:
    """A published time, in the form in which its source states it.

    Attributes:
      gpu: its name.
      gpus: how many.
      net: which AlexNet.
      timed: which part of training.
      batch: images a step, over all GPUs.
      images: trained on in `seconds`.
      source: key of SOURCES.
    """

    gpu: str
    gpus: int
    net: str
    timed: str
    batch: int
    images: float
    seconds: float
    source: str

    @property
    def images_per_second(self) -> float:
        """Over all GPUs."""
        return self.images / self.seconds

    @property
    def step_seconds(self) -> float:
        """Time of one step."""
        return self.batch / self.images_per_second


WHOLE = "whole training"
STEP = "step, made-up images"
_RUN = EPOCHS * TRAINING_IMAGES
_DAY = 24 * 3600.0
PUBLISHED = (
    Published("GTX 580", 2, TWO_TOWERS, "whole training, five to six days", 128, _RUN, 5.5 * _DAY, "paper"),
    Published("K20", 1, WEIRD_TRICK, WHOLE, 128, _RUN, 98.05 * 3600, "krizhevsky-2014"),
    Published("K20", 8, WEIRD_TRICK, WHOLE, 1024, _RUN, 15.68 * 3600, "krizhevsky-2014"),
    Published("K40", 1, GROUPED, WHOLE, 256, 20 * 256, 19.2, "caffe"),
    Published("Titan X (Maxwell)", 1, WEIRD_TRICK, "forward and backward, made-up images", 128, 128, 0.081, "convnet"),
    Published("K80 (one chip)", 1, TF_BENCHMARK, STEP, 512, 684, 1, "tensorflow"),
    Published("K80 (one chip)", 8, TF_BENCHMARK, STEP, 8 * 512, 4853, 1, "tensorflow"),
    Published("P100", 1, TF_BENCHMARK, STEP, 512, 2987, 1, "tensorflow"),
    Published("P100", 8, TF_BENCHMARK, STEP, 8 * 512, 17822, 1, "tensorflow"),
    Published("V100", 1, TF_BENCHMARK, STEP, 1536, 5132, 1, "lambda"),
    Published("V100", 8, TF_BENCHMARK, STEP, 12288, 35882, 1, "lambda"),
    Published("A100 40GB PCIe", 1, TF_BENCHMARK, STEP, 1792, 10187, 1, "lambda"),
    Published("A100 40GB PCIe", 8, TF_BENCHMARK, STEP, 14336, 75860, 1, "lambda"),
)


def published_rate(gpu: str) -> float:
    """Images/s of one GPU."""
    (rate,) = (entry.images_per_second for entry in PUBLISHED if (entry.gpu, entry.gpus) == (gpu, 1))
    return rate


def one_tower_layers(net: str) -> list[LayerWork]:
    """The layers of a one-tower net of WIDTHS; the pictures between them are as large as AlexNet's."""
    kernels = WIDTHS[net]
    inputs = (3, *kernels)
    sides, positions = (11, 5, 3, 3, 3), (55, 27, 13, 13, 13)
    convolutions = [
        LayerWork(f"conv{n + 1}", (sides[n], sides[n], inputs[n], kernels[n]), positions[n] ** 2, sees_image=n == 0)
        for n in range(5)
    ]
    dense = [(6 * 6 * kernels[-1], 4096), (4096, 4096), (4096, 1000)]
    return convolutions + [LayerWork(f"fc{n + 6}", kernel, 1, sees_image=False) for n, kernel in enumerate(dense)]


def one_tower_parameters(net: str) -> int:
    """Weights and biases of a one-tower net of WIDTHS."""
    return sum(math.prod(layer.kernel) + layer.kernel[-1] for layer in one_tower_layers(net))
