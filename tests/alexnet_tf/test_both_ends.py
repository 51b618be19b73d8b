"""A run goes from one end of the supported range (TensorFlow 2.21, Keras 3) to the other (2.15, Keras 2) and back."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet_tf import evaluate
from alexnet_tf.networks.keras_versions import KERAS_3
from tests.alexnet_tf.training.run_files import tensors
from tests.narrow_nets import NARROW_COMMAND

ROOT = Path(__file__).resolve().parents[2]
Arguments = Callable[..., list[str]]


@pytest.fixture(scope="module")
def other_end() -> Callable[..., None]:
    """Runs a command of this checkout in the other end's environment."""
    beside = ROOT / (".venv-addons" if KERAS_3 else ".venv") / "bin" / "python"
    python = os.environ.get("ALEXNET_OTHER_PYTHON", str(beside))
    if not Path(python).exists():
        pytest.skip(f"NO OTHER END: {python} does not exist; `make test-addons` and `make test` make one each")

    def run(module: str, *arguments: str) -> None:
        found = subprocess.run(
            [python, "-c", NARROW_COMMAND, module, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr

    return run


def error_rates(command: Callable[..., object], run: Path, out: Path) -> dict:
    command("--run", str(run), "--checkpoint", "latest", "--json", str(out))
    return json.loads(out.read_text())


@pytest.mark.usefixtures("small_net")
@pytest.mark.parametrize("optimizer", ["paper", "sgdw"])
def test_a_run_goes_to_the_other_end_and_back(
    runs: Path, run_training: Callable[..., None], arguments: Arguments, other_end: Callable[..., None], optimizer: str
) -> None:
    """Weights and velocities end as in a run that stays here: both ends draw the same pictures, crops and dropout."""
    run, chosen = runs / "run", f"train.optimizer={optimizer}"
    run_training(run, chosen, "train.steps=2")
    here = error_rates(lambda *a: evaluate.main(list(a)), run, runs / "here.json")
    there = error_rates(lambda *a: other_end("alexnet_tf.evaluate", *a), run, runs / "there.json")
    assert there["loss"] == pytest.approx(here["loss"], rel=1e-5)
    assert there["top1_error"] == here["top1_error"]

    other_end("train", *arguments(run, chosen, "train.steps=4"))
    run_training(run, chosen, "train.steps=6")
    run_training(runs / "here", chosen, "train.steps=6")
    expected, found = tensors(runs / "here", 6), tensors(run, 6)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-6, err_msg=name)
