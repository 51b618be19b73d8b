"""Caffe's two networks, bvlc_alexnet and CaffeNet: towers like the paper's, which meet in the normalizations, too.

An output shape on every line; N is the batch.
"""

from typing import Any

import tensorflow as tf

from alexnet_tf.networks.alexnet import Tower, TwoTowerAlexNet
from alexnet_tf.networks.layers import BothTowers, Channels
from alexnet_tf.settings.presets import AlexNetSettings


class CaffeAlexNet(TwoTowerAlexNet):
    """Caffe's bvlc_alexnet and CaffeNet: its LRN knows no groups, so the towers meet in both normalizations, too.

    CaffeNet pools first and normalizes what is left.
    """

    def _tower(self, tower: str, device: str | None, network: AlexNetSettings, seed: int, dtype: str | None) -> "Tower":
        return CaffeTower(tower, device, network, seed, dtype)

    def blocks12(self, images: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The two blocks; from images of (N, 227, 227, 3)."""
        a, b = self.a, self.b
        x, y = a.conv_block1(images[0]), b.conv_block1(images[1])  # 2 x (N, 55, 55, 48); CaffeNet: (N, 27, 27, 48)
        p, q = a.edge1(x), b.edge1(y)  # 2 x (N, 55, 55, 2), the channels that the other tower sees
        x, y = a.norm_block1(x, q, training), b.norm_block1(y, p, training)  # 2 x (N, 27, 27, 48)
        x = a.conv_block2(x, training)  # (N, 27, 27, 128); CaffeNet: (N, 13, 13, 128)
        y = b.conv_block2(y, training)  # the same
        p, q = a.edge2(x), b.edge2(y)  # 2 x (N, 27, 27, 2)
        return [a.norm_block2(x, q, training), b.norm_block2(y, p, training)]  # 2 x (N, 13, 13, 128)


class CaffeTower(Tower):
    """A tower whose blocks 1 and 2 come in two parts, for before LRN it needs the neighbor's nearest channels.

    Channels count through both towers: a's last ones are next to b's first ones.
    """

    def __init__(self, tower: str, device: str | None, network: AlexNetSettings, seed: int, dtype: str | None) -> None:
        super().__init__(tower, device, network, seed, dtype)
        self.is_first = tower == "a"
        self.pool_first = network.block1_order == "conv-relu-pool-lrn"

        def named(name: str) -> dict[str, Any]:
            return {"name": f"{name}_{tower}", "device": device, "tower": tower, "dtype": dtype}

        radius = network.lrn_depth_radius
        edge = (-radius, None) if self.is_first else (None, radius)
        own = (None, -radius) if self.is_first else (radius, None)
        self.edge1 = Channels(*edge, **named("edge1"))
        self.join_norm1 = BothTowers(**named("join_norm1"))
        self.own1 = Channels(*own, **named("own1"))
        self.edge2 = Channels(*edge, **named("edge2"))
        self.join_norm2 = BothTowers(**named("join_norm2"))
        self.own2 = Channels(*own, **named("own2"))

    def conv_block1(self, images: tf.Tensor) -> tf.Tensor:
        """Conv1 and, in CaffeNet, pool1; norm1 rectifies, for ReLU and pooling may change places."""
        x = self.conv1(self.cast1(images))  # (N, 227, 227, 3) -> (N, 55, 55, 48)
        return self.pool1(x) if self.pool_first else x  # (N, 27, 27, 48) if pooled

    def norm_block1(self, x: tf.Tensor, neighbors: tf.Tensor, training: bool) -> tf.Tensor:
        """Normalization 1 and, in bvlc_alexnet, pool1."""
        x = self.join_norm1([x, neighbors] if self.is_first else [neighbors, x])  # (N, 55, 55, 50)
        x = self.own1(self.norm1(x, training=training))  # (N, 55, 55, 48)
        return x if self.pool_first else self.pool1(x)  # (N, 27, 27, 48)

    def conv_block2(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv2 and, in CaffeNet, pool2; norm2 rectifies."""
        x = self.conv2(x, training=training)  # (N, 27, 27, 128)
        return self.pool2(x) if self.pool_first else x  # (N, 13, 13, 128) if pooled

    def norm_block2(self, x: tf.Tensor, neighbors: tf.Tensor, training: bool) -> tf.Tensor:
        """Normalization 2 and, in bvlc_alexnet, pool2."""
        x = self.join_norm2([x, neighbors] if self.is_first else [neighbors, x])  # (N, 27, 27, 130)
        x = self.own2(self.norm2(x, training=training))  # (N, 27, 27, 128)
        return x if self.pool_first else self.pool2(x)  # (N, 13, 13, 128)
