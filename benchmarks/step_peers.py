"""AlexNet of one tower, as users of plain Keras and of PyTorch write it, to time the two-tower step against.

Convolutions in groups take the towers' place in conv2, conv4 and conv5, so weights and operations are as many as the
towers'. What comes out is the same, too, but for LRN, which knows no groups here: it sees all channels, as in Caffe.
Rate, momentum and decay are the paper's, as far as each library's own optimizer knows them. All is float32.
"""

import contextlib
import functools
import itertools
import multiprocessing
import shutil
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_tf.settings.presets import PRESETS, AlexNetSettings
from alexnet_tf.settings.recipe import Recipe

Steps = Callable[[int], Any]
"""So many steps of training on the same batch; what it returns, float() makes the loss before the last one, in nats.

Of Keras it is the mean over the steps. They are taken in one call of `fit`, whose own beginning and end would otherwise
be most of the time of a small net.
"""

assert isinstance(PRESETS["paper"].network, AlexNetSettings)
NETWORK = PRESETS["paper"].network
RECIPE = PRESETS["paper"].train
SIDE_WEIGHT = 0.3
"""Of auxiliary outputs in the loss: Inception's (arXiv 1409.4842, section 5)."""
BIASES = (0, 1, 0, 1, 1, 1, 1, 0)
"""Initial ones, from conv1 to fc8 (paper section 5)."""


def keras_steps(images: np.ndarray, labels: np.ndarray, classes: int, seed: int, threads: int, *, xla: bool) -> Steps:
    """Keras' own `fit` in a process of its own.

    TensorFlow settles for a whole process how many threads an operation has, and two towers may need another number.
    Arguments as for `torch_steps`, and whether `fit` compiles the step by XLA, as it does by itself only beside a GPU.
    """
    return keras_training(functools.partial(keras_net, classes, seed), RECIPE, images, labels, threads, xla=xla)


def keras_training(
    build: Callable[[], keras.Model], recipe: Recipe, images: np.ndarray, labels: np.ndarray, threads: int, *, xla: bool
) -> Steps:
    """As `keras_steps`, for any net.

    Args:
      build: makes the net, in the other process; its further outputs, where it has any, count 0.3 in the loss.
      recipe: gives rate, momentum and decay.
      images: float32 (N, H, W, channels).
      labels: int64 (N,).
      threads: inside an operation.
      xla: as for `keras_steps`.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    arguments = (there, threads, build, recipe, images, labels, xla)
    context.Process(target=_keras_process, args=arguments, daemon=True).start()
    there.close()  # so that the other's end is an end of file here

    def steps(count: int) -> float:
        here.send(count)
        return here.recv()

    return steps


def _keras_process(pipe: Connection, threads: int, *arguments: Any) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    steps = _keras_steps(*arguments)
    with contextlib.suppress(EOFError):  # the benchmark has ended
        while True:
            pipe.send(steps(pipe.recv()))


def _keras_steps(
    build: Callable[[], keras.Model], recipe: Recipe, images: np.ndarray, labels: np.ndarray, xla: bool
) -> Callable[[int], float]:
    net = build()
    outputs = len(net.outputs)
    net.compile(
        keras.optimizers.SGD(recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay),
        [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in range(outputs)],
        loss_weights=[1.0, *[SIDE_WEIGHT] * (outputs - 1)],
        jit_compile=xla,
    )
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would hold up the end of a call of `fit`, by up to as long as it took
    batches = tf.data.Dataset.from_tensors((images, (labels,) * outputs)).repeat().with_options(options)
    return lambda count: net.fit(batches, steps_per_epoch=count, shuffle=False, verbose=0).history["loss"][0]


def keras_net(classes: int, seed: int = 0) -> keras.Model:
    """Images (N, 224, 224, 3) to logits (N, classes)."""
    biases, seeds = iter(BIASES), itertools.count(100 * seed)  # a global seed would reach into the input pipeline

    def start() -> dict[str, Any]:
        return {
            "kernel_initializer": keras.initializers.RandomNormal(stddev=NETWORK.weight_stddev, seed=next(seeds)),
            "bias_initializer": keras.initializers.Constant(next(biases)),
        }

    def conv(filters: int, size: int, **options: Any) -> keras.layers.Layer:
        return keras.layers.Conv2D(filters, size, activation="relu", **options, **start())

    def norm() -> keras.layers.Layer:
        own = (NETWORK.lrn_depth_radius, NETWORK.lrn_bias, NETWORK.lrn_alpha, NETWORK.lrn_beta)
        return keras.layers.Lambda(lambda x: tf.nn.local_response_normalization(x, *own))

    def dense(units: int, activation: str | None = "relu") -> keras.layers.Layer:
        return keras.layers.Dense(units, activation, **start())

    def dropout() -> keras.layers.Layer:
        return keras.layers.Dropout(NETWORK.dropout_rate, seed=next(seeds))

    def pool() -> keras.layers.Layer:
        return keras.layers.MaxPooling2D(3, 2)

    return keras.Sequential(
        [
            keras.layers.InputLayer((224, 224, 3)),
            keras.layers.ZeroPadding2D(((0, 3), (0, 3))),
            conv(96, 11, strides=4), norm(), pool(),  # (N, 27, 27, 96)
            conv(256, 5, padding="same", groups=2), norm(), pool(),  # (N, 13, 13, 256)
            conv(384, 3, padding="same"),  # (N, 13, 13, 384)
            conv(384, 3, padding="same", groups=2),
            conv(256, 3, padding="same", groups=2), pool(),  # (N, 6, 6, 256)
            keras.layers.Flatten(),
            dense(4096), dropout(),
            dense(4096), dropout(),
            dense(classes, None),
        ]
    )  # fmt: skip


def torch_steps(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    threads: int,
    *,
    lrn: bool,
    channels_last: bool,
    compiled: bool = False,
) -> Steps:
    """Steps in PyTorch.

    Args:
      images: float32 (N, 224, 224, 3).
      labels: int64 (N,).
      classes: that there are.
      seed: of the weights and of dropout.
      threads: inside an operation.
      lrn: whether there are the two normalizations.
      channels_last: whether activations and kernels lie in memory with the channels last.
      compiled: whether torch.compile makes one program of the network.

    Raises:
      ImportError: PyTorch, or what it compiles with, is not installed.
    """
    import torch

    if compiled and shutil.which("g++") is None:
        raise ImportError("torch.compile needs g++")

    torch.manual_seed(seed)
    net = torch_net(classes, lrn=lrn)
    return torch_training(net, RECIPE, images, labels, threads, channels_last=channels_last, compiled=compiled)


def torch_training(
    net: Any,
    recipe: Recipe,
    images: np.ndarray,
    labels: np.ndarray,
    threads: int,
    *,
    channels_last: bool,
    compiled: bool = False,
) -> Steps:
    """As `torch_steps`, for any net.

    Args:
      net: an nn.Module that gives logits, or a list of them, of which all but the first count 0.3 in the loss.
      recipe: gives rate, momentum and decay.
      images: float32 (N, H, W, channels).
      labels: int64 (N,).
      threads: inside an operation.
      channels_last: as for `torch_steps`.
      compiled: as for `torch_steps`.
    """
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    forward = torch.compile(net) if compiled else net
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    y = torch.from_numpy(labels)

    def steps(count: int) -> Any:
        for _ in range(count):
            optimizer.zero_grad()
            logits = forward(x)
            first, *sides = logits if isinstance(logits, list) else [logits]
            loss = torch.nn.functional.cross_entropy(first, y)
            for side in sides:
                loss = loss + SIDE_WEIGHT * torch.nn.functional.cross_entropy(side, y)
            loss.backward()
            optimizer.step()
        return loss.detach()

    return steps


def torch_net(classes: int, *, lrn: bool) -> Any:
    """An nn.Module: images (N, 3, 224, 224) to logits (N, classes)."""
    from torch import nn

    def norm() -> list[nn.Module]:
        window = 2 * NETWORK.lrn_depth_radius + 1
        own = (window * NETWORK.lrn_alpha, NETWORK.lrn_beta, NETWORK.lrn_bias)  # PyTorch divides alpha by the window
        return [nn.LocalResponseNorm(window, *own)] if lrn else []

    def relu() -> nn.Module:
        return nn.ReLU(inplace=True)

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2)

    net = nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        nn.Conv2d(3, 96, 11, 4), relu(), *norm(), pool(),  # (N, 96, 27, 27)
        nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), *norm(), pool(),  # (N, 256, 13, 13)
        nn.Conv2d(256, 384, 3, padding=1), relu(),  # (N, 384, 13, 13)
        nn.Conv2d(384, 384, 3, padding=1, groups=2), relu(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), pool(),  # (N, 256, 6, 6)
        nn.Flatten(),
        nn.Linear(9216, 4096), relu(), nn.Dropout(NETWORK.dropout_rate),
        nn.Linear(4096, 4096), relu(), nn.Dropout(NETWORK.dropout_rate),
        nn.Linear(4096, classes),
    )  # fmt: skip
    weighted = [layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, bias in zip(weighted, BIASES, strict=True):
        nn.init.normal_(layer.get_parameter("weight"), std=NETWORK.weight_stddev)
        nn.init.constant_(layer.get_parameter("bias"), bias)
    return net
