"""Converted pictures of the size that a network takes."""

from pathlib import Path

import pytest

from alexnet_tf.settings.presets import PRESETS
from tests.conftest import convert_folder


class PicturesFor:
    """By a preset, the data folder; those of one size are converted once."""

    def __init__(self, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.pictures = tiny_data.parent
        self.factory = tmp_path_factory
        self.made = {(256, 256, 3): tiny_data}

    def __call__(self, preset: str) -> Path:
        shape = PRESETS[preset].network.stored_shape
        if shape not in self.made:
            root = self.factory.mktemp("pictures")
            for split in ("train", "val"):
                (root / split).symlink_to(self.pictures / split)
            self.made[shape] = convert_folder(root, f"--size={shape[0]}", f"--channels={shape[2]}")
        return self.made[shape]
