"""Several nets as one exported model, and exported models as an ensemble: the mean of their probabilities."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import export
from alexnet_tf import evaluate
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.metadata import MODEL_FILE
from alexnet_tf.serving.warm_up import read_warm_up
from alexnet_tf.towers import Towers
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import shrink_net
from tests.slow_cases import slow
from tfrecords.manifest import load_manifest

PRESETS = {"paper": 1, "owt": 3}
"""With the seeds of their weights; the two prepare pictures in two ways, and have two towers and one."""


@pytest.fixture(scope="module")
def nets(tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of each preset, a model of each, and `all`, a model of them together."""
    root = tmp_path_factory.mktemp("nets")
    manifest = load_manifest(tiny_data)
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        for preset, seed in PRESETS.items():
            write_opinionated_run(root / preset, tiny_data, manifest, preset, two_cpus, seed, bound=True)
            assert export.main(["--run", str(root / preset), "--out", str(root / f"models/{preset}")]) == 0
        runs = [argument for preset in PRESETS for argument in ("--run", str(root / preset))]
        assert export.main([*runs, "--out", str(root / "models/all")]) == 0
        yield root
    loaded.cache_clear()
    shutil.rmtree(root)


@functools.cache
def loaded(model: Path) -> Any:
    return tf.saved_model.load(str(model / "1"))


def signature(model: Path, name: str) -> Callable[..., dict[str, tf.Tensor]]:
    return loaded(model).signatures[name]


@pytest.mark.parametrize("name", ["probabilities", *slow("ten_view")])
def test_one_model_answers_with_the_mean(nets: Path, stored_pictures: list[bytes], name: str) -> None:
    files = tf.constant([*stored_pictures[:3], b"no picture"])
    each = [signature(nets / f"models/{preset}", name)(image_bytes=files)["probabilities"] for preset in PRESETS]
    answer = signature(nets / "models/all", name)(image_bytes=files)
    assert max(np.abs(one[:3] - each[0][:3]).max() for one in each[1:]) > 0.05  # nets of their own opinions
    assert_close(answer["probabilities"], np.mean(each, axis=0), WHOLE_NETWORK)
    assert [status == b"ok" for status in answer["status"].numpy()] == [True, True, True, False]


def test_it_answers_to_all_but_one_nets_own_signatures(nets: Path) -> None:
    one, together = (loaded(nets / f"models/{name}").signatures for name in ("paper", "all"))
    assert set(one) - set(together) == {"features", "feature_maps", "grad_cam", "network"}
    pixels = tf.cast(tf.random.stateless_uniform((2, 300, 280, 3), (1, 2), 0, 256, tf.int32), tf.uint8)
    each = [signature(nets / f"models/{preset}", "images")(images=pixels)["probabilities"] for preset in PRESETS]
    found = together["images"](images=pixels)["probabilities"]
    assert_close(found, np.mean(each, axis=0), WHOLE_NETWORK)
    warmed = {log.predict_log.request.model_spec.signature_name for log in read_warm_up(nets / "models/all/1")}
    assert warmed - {""} == {"serving_default", "probabilities", "ten_view", "view"}
    model = json.loads((nets / "models/all/1" / MODEL_FILE).read_text())
    assert [net["preset"] for net in model["nets"]] == list(PRESETS)


@pytest.mark.parametrize(
    ("views", "sources"),
    [
        (1, ["runs", "all"]),
        pytest.param(10, ["mixed", "all"], marks=pytest.mark.slow),
        pytest.param(1, ["models", "mixed", "all"], marks=pytest.mark.slow),
    ],
)
def test_runs_models_and_the_model_of_all_have_one_error_rate(
    nets: Path, tiny_data: Path, views: int, sources: list[str]
) -> None:
    """Over runs, over exported models, over both mixed, and of the one model that holds all nets."""
    first, *others = PRESETS
    options = {
        "runs": [("--run", nets / preset) for preset in PRESETS],
        "models": [("--model", nets / f"models/{preset}") for preset in PRESETS],
        "mixed": [("--run", nets / first), *(("--model", nets / f"models/{preset}") for preset in others)],
        "all": [("--model", nets / "models/all")],
    }
    losses = []
    for source in sources:
        report = nets / f"{source}.json"
        named = [str(part) for pair in options[source] for part in pair]
        assert evaluate.main([*named, "--data", str(tiny_data), f"--views={views}", "--json", str(report)]) == 0
        losses.append(json.loads(report.read_text())["loss"])
    assert losses == pytest.approx([losses[0]] * len(sources), rel=1e-4)


def test_nets_that_do_not_fit_are_told(nets: Path, tiny_data: Path, two_cpus: Towers) -> None:
    manifest = load_manifest(tiny_data)
    fewer = manifest.model_copy(update={"class_keys": ["ant", "bee"], "class_names": ["ant", "bee"]})
    write_opinionated_run(nets / "fewer", tiny_data, fewer, "paper", two_cpus, 0)
    write_opinionated_run(nets / "larger", tiny_data, manifest, "caffe", two_cpus, 0)
    turned = manifest.model_copy(update={"exif": "apply" if manifest.exif == "ignore" else "ignore"})
    write_opinionated_run(nets / "turned", tiny_data, turned, "paper", two_cpus, 0, bound=True)
    for other, line in (
        ("fewer", "knows other classes than"),
        ("larger", "sees crops of 227 pixels, .* of 224"),
        ("turned", f"--exif {turned.exif}, .*paper with --exif {manifest.exif}: .*export each by itself"),
    ):
        with pytest.raises(UserError, match=line):
            export.main(["--run", str(nets / "paper"), "--run", str(nets / other), "--out", str(nets / "models/odd")])
        assert not (nets / "models/odd").exists()
