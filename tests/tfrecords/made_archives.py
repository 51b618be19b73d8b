"""ILSVRC-2012 in miniature: the three archives, with real JPEG files and a true meta.mat."""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from tests.tfrecords.made_pictures import noise
from tests.tfrecords.odd_pictures import file_bytes

WORDS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish", "n01484850": "great white shark"}
ILSVRC_IDS = {"n01440764": 3, "n01443537": 1, "n01484850": 2}
"""In another order than the WordNet ids', as in the original."""
VAL_IDS = [3, 1, 1, 2, 3, 2]


@dataclass
class Archives:
    """What is to be in the archives; a test changes it before `write`."""

    train: dict[str, dict[str, bytes]]
    val: dict[str, bytes]
    val_ids: list[int] = field(default_factory=lambda: list(VAL_IDS))
    claimed: dict[str, int] = field(default_factory=dict)
    """Numbers of training pictures in meta.mat that are not those in `train`."""
    strange: tarfile.TarInfo | None = None
    """One more member of the last class's archive."""

    def write(self, folder: Path) -> list[str]:
        """Writes the archives and returns the options that name them."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in ("train.tar", "val.tar", "devkit.tar.gz")]
        inner = {f"{wnid}.tar": self._class_archive(wnid) for wnid in self.train}
        paths[0].write_bytes(tar_bytes(inner))
        paths[1].write_bytes(tar_bytes(self.val))
        truth = "".join(f"{one}\n" for one in self.val_ids).encode()
        kit = {
            "ILSVRC2012_devkit_t12/data/meta.mat": self.meta_mat(),
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": truth,
            "ILSVRC2012_devkit_t12/readme.txt": b"a development kit",
        }
        paths[2].write_bytes(tar_bytes(kit, "gz"))
        return [f"--{option}={path}" for option, path in zip(("train-tar", "val-tar", "devkit"), paths, strict=True)]

    def _class_archive(self, wnid: str) -> bytes:
        last = wnid == list(self.train)[-1]
        return tar_bytes(self.train[wnid], extra=self.strange if last else None)

    def meta_mat(self) -> bytes:
        """Leaf synsets and, as in the original, one above them with an id past theirs."""
        fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
        table = np.zeros((len(WORDS) + 1, 1), [(name, object) for name in (*fields, "num_train_images")])
        for row, wnid in enumerate(sorted(WORDS, key=lambda wnid: ILSVRC_IDS[wnid])):
            pictures = self.claimed.get(wnid, len(self.train.get(wnid, {})))
            table[row, 0] = (ILSVRC_IDS[wnid], wnid, WORDS[wnid], "a fish", 0, np.zeros((0, 0)), 0, pictures)
        table[-1, 0] = (len(WORDS) + 1, "n02512053", "fish", "cold-blooded", 3, np.array([1, 2, 3]), 1, 0)
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, {"synsets": table})
        return buffer.getvalue()


def make_archives(per_class: int = 6) -> Archives:
    train = {
        wnid: {f"{wnid}_{10 * n + 7}.JPEG": picture(100 * label + n) for n in range(per_class)}
        for label, wnid in enumerate(WORDS)
    }
    val = {f"ILSVRC2012_val_{n + 1:08d}.JPEG": picture(1000 + n) for n in range(len(VAL_IDS))}
    return Archives(train, val)


def picture(seed: int) -> bytes:
    return file_bytes(Image.fromarray(noise(seed, 30 + seed % 17, 28 + seed % 13)), "JPEG", quality=90)


def tar_bytes(files: dict[str, bytes], compression: str = "", extra: tarfile.TarInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if extra is not None:
            archive.addfile(extra)
    return buffer.getvalue()
