"""Several real workers of the small network on this machine, by `start_workers`, and what they leave behind."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.alexnet_tf.training.run_files import metrics
from tests.conftest import convert_folder, write_pictures
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT = 30
"""Seconds; on two busy cores four processes take a while to load TensorFlow."""


class Cluster:
    """Starts workers with one config, and reads what they left behind."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.config = folder / "four.yaml"
        self.config.write_text(
            f"model: {{preset: 2012-code}}\ndata: {{dir: {data}, batch_size: 4, eval_batch_size: 5}}\n"
            "augment: {crop: center, noise: none}\ntrain: {learning_rate: 0.003, log_every: 1}\n"
            f"devices: {{towers: two-cpus}}\ndistribute: {{timeout: {TIMEOUT}}}\n"
        )

    def arguments(self, run: str, *overrides: str) -> list[str]:
        return ["--config", str(self.config), "--run", str(self.folder / run), *overrides]

    def command(self, run: str, *overrides: str, changes: str) -> list[str]:
        """Of one worker; its traces go to the folder `run`-traces."""
        (self.folder / f"{run}-traces").mkdir(exist_ok=True)
        program = [
            sys.executable,
            "-m",
            "tests.alexnet_tf.workers.worker_program",
            str(self.folder / f"{run}-traces"),
            changes,
        ]
        return [*program, *self.arguments(run, *overrides)]

    def start(self, workers: int, run: str, *overrides: str, changes: str = "") -> subprocess.Popen:
        launcher = [sys.executable, "-m", "alexnet_tf.start_workers", "--local", str(workers), "--"]
        return popen([*launcher, *self.command(run, *overrides, changes=changes)])

    def train(self, workers: int, run: str, *overrides: str, changes: str = "") -> None:
        process = self.start(workers, run, *overrides, changes=changes)
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "[1]" not in out  # the first worker speaks for all
        assert told(errors) == []

    def weights(self, run: str) -> list[dict[str, np.ndarray]]:
        """Each worker's."""
        files = sorted((self.folder / f"{run}-traces").glob("*.npz"))
        return [dict(np.load(file)) for file in files]

    def traces(self, run: str) -> list[dict]:
        return [json.loads(file.read_text()) for file in sorted((self.folder / f"{run}-traces").glob("*.json"))]

    def pid(self, run: str, worker: int) -> int:
        return int((self.folder / f"{run}-traces/{worker}.pid").read_text())


def told(errors: str) -> list[str]:
    """The lines on stderr, but for how far it is, and for what XLA of TensorFlow 2.15 notes when it first compiles."""
    return [line for line in errors.splitlines() if not re.search(r"XLA|xla|absl::InitializeLog| img \(\d+%\)", line)]


def popen(command: list[str], **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )  # fmt: skip


def four_pictures(folder: Path, *options: str) -> Cluster:
    """Workers with data of four pictures for training and four for validation."""
    for split, seed in (("train", 0), ("val", 10_000)):
        write_pictures(folder / split, 2, seed)
        shutil.rmtree(folder / split / "cat")
    return Cluster(folder, convert_folder(folder, *options))


def wait_for_step(cluster: Cluster, run: str, step: int, process: subprocess.Popen) -> None:
    def reached() -> bool:
        file = cluster.folder / run / "metrics.jsonl"
        return file.exists() and any(line["step"] >= step for line in metrics(cluster.folder / run, "train"))

    wait_until(reached, process)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
