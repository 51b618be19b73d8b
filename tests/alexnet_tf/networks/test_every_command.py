"""Every class of networks by the commands that a user types, from training to serving; networks are narrow."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf import evaluate, export, report, train
from alexnet_tf.evaluation.probabilities import prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.local_server.screening import run_screened
from alexnet_tf.local_server.served_model import LoadedVersion
from alexnet_tf.pictures.preparation import number_of_views
from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks.pictures_for import PicturesFor
from tests.alexnet_tf.serving.exported_models import keep_one_warm_up
from tests.alexnet_tf.training.run_files import metrics, steps_of, tensors
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import NARROW_COMMAND, ONE_OF_EACH_CLASS

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_nets")]

Config = Callable[[str], Path]


@pytest.fixture(scope="module")
def config_of(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of a preset: a file of settings for few pictures."""
    pictures_for = PicturesFor(tiny_data, tmp_path_factory)
    folder = tmp_path_factory.mktemp("configs")

    def config(preset: str) -> Path:
        path = folder / f"{preset}.yaml"
        path.write_text(
            f"model: {{preset: {preset}}}\ndata: {{dir: {pictures_for(preset)}, batch_size: 4, eval_batch_size: 5}}\n"
            "train: {learning_rate: 0.003, log_every: 1, drop_epochs: [], schedule: epochs}\n"
            "devices: {towers: two-cpus}\ndistribute: {timeout: 60}\n"
        )
        return path

    return config


@pytest.mark.parametrize("preset", ONE_OF_EACH_CLASS)
def test_trained_in_two_sittings_evaluated_reported_exported_and_served(
    preset: str, config_of: Config, two_cpus: Towers, tmp_path: Path
) -> None:
    config = ["--config", str(config_of(preset))]
    for run, steps in (("whole", 6), ("parts", 3), ("parts", 6)):
        assert train.main([*config, "--run", str(tmp_path / run), f"train.steps={steps}"]) == 0
    whole, parts = (tensors(tmp_path / run, 6) for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(parts[name].tobytes() == whole[name].tobytes() for name in whole)

    run = open_run(tmp_path / "parts")
    of_run, preset_used = ["--run", str(run.path)], run.config.preset
    for views in (1, 10):
        file = tmp_path / f"{views}.json"
        assert evaluate.main([*of_run, "--views", str(views), "--checkpoint", "latest", "--json", str(file)]) == 0
        found = json.loads(file.read_text())
        assert found["views"] == number_of_views(views, preset_used.augment, preset_used.network.stored_size)
        if views == 1:
            assert found["top1_error"] == metrics(run.path, "validation")[-1]["top1_error"]

    assert report.main([*of_run, "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report/report.html").read_text()
    for chapter in ("learning_curve", "confusion_matrix", "feature_maps", "grad_cam", "filters", "placement"):
        assert chapter in page and (tmp_path / f"report/{chapter}.png").stat().st_size, chapter

    assert export.main([*of_run, "--checkpoint", "latest", "--out", str(tmp_path / "model")]) == 0
    keep_one_warm_up(tmp_path / "model/1")
    version = LoadedVersion(tmp_path / "model/1")
    files = [path.read_bytes() for path in sorted((run.config.data.dir.parent / "val").rglob("*.png"))]
    served = run_screened(version, "probabilities", {"image_bytes": np.array(files, object)})
    version.session.close()
    model, _ = trained_network(run, two_cpus, "latest")
    pictures = [picture_from_file(file, model.settings.stored_shape) for file in files]
    expected = prediction_function(model, preset_used.augment, run.statistics)(tf.cast(pictures, tf.uint8))
    assert_close(served["probabilities"], expected, WHOLE_NETWORK)


@pytest.mark.parametrize("preset", ONE_OF_EACH_CLASS)
def test_stored_features_give_what_frozen_layers_give(preset: str, config_of: Config, tmp_path: Path) -> None:
    settings = PRESETS[preset].network
    part = settings.feature_layers[-2]
    frozen = settings.layers[: settings.layers.index(part) + 1]
    chosen = [f"train.freeze=[{', '.join(frozen)}]", "augment.crop=center", "augment.noise=none", "train.steps=4"]
    config = config_of(preset)
    assert parse_config(config.read_text(), "", chosen).preset.frozen_part == part
    for run, stored in (("frozen", "false"), ("stored", "true")):
        options = ["--config", str(config), "--run", str(tmp_path / run), *chosen, f"train.cache_features={stored}"]
        assert train.main(options) == 0
    assert (tmp_path / "stored/features").is_dir()
    expected, found = tensors(tmp_path / "frozen", 4), tensors(tmp_path / "stored", 4)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert_close(found[name], value, WHOLE_NETWORK, name=name)


@pytest.mark.parametrize("preset", ONE_OF_EACH_CLASS)
def test_two_workers_train_it(preset: str, config_of: Config, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "alexnet_tf.start_workers", "--local", "2", "--"]
    worker = [sys.executable, "-c", NARROW_COMMAND, "alexnet_tf.train", "--config", str(config_of(preset))]
    command = [*launcher, *worker, "--run", str(tmp_path / "run"), "train.steps=4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert steps_of(tmp_path / "run")[-1] == 4
    values = tensors(tmp_path / "run", 4)
    assert all(np.isfinite(value).all() for value in values.values())
    assert evaluate.main(["--run", str(tmp_path / "run"), "--views", "1", "--checkpoint", "latest"]) == 0
