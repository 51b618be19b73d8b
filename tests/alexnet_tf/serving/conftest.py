"""Exported models of presets with narrow networks, pictures to show them, and servers of them.

TensorFlow is loaded where a fixture needs it, see tests/conftest.py.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.alexnet_tf.serving.servers import Server, local_server, tensorflow_model_server

if TYPE_CHECKING:
    from alexnet_tf.towers import Towers
    from tests.alexnet_tf.serving.exported_models import Exported


@pytest.fixture(scope="session")
def export_of(tiny_data: Path, two_cpus: "Towers", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """The exported model of a preset, made once."""
    from tests.alexnet_tf.serving.exported_models import export_preset, loaded

    root = tmp_path_factory.mktemp("exported")
    yield functools.cache(lambda preset: export_preset(preset, root / preset, tiny_data, two_cpus))
    loaded.cache_clear()
    shutil.rmtree(root)


@pytest.fixture(scope="session", params=["paper", "2012-code", "caffe", "owt"])
def exported(request: pytest.FixtureRequest, export_of: Callable[[str], "Exported"]) -> "Exported":
    """Each preset in turn."""
    return export_of(request.param)


@pytest.fixture(scope="session")
def program(export_of: Callable[[str], "Exported"]) -> "Exported":
    """The 2012 program's, where one preset is enough."""
    return export_of("2012-code")


@pytest.fixture(scope="session")
def quick_models(program: "Exported", tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same model, quick to load, with examples, for tests of something else."""
    from alexnet_tf.serving.examples import Example, write_examples
    from tests.alexnet_tf.serving.exported_models import EXAMPLE_LABELS, keep_one_warm_up, stored_pictures_of

    root = tmp_path_factory.mktemp("quick")
    version = Path(shutil.copytree(program.models / "1", root / "alexnet" / "1"))
    keep_one_warm_up(version)
    pictures = stored_pictures_of(tiny_data)
    write_examples(version, [Example(pictures[place], "jpg", label) for place, label in enumerate(EXAMPLE_LABELS)])
    yield root / "alexnet"
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def stored_pictures(tiny_data: Path) -> list[bytes]:
    """The validation pictures as the records hold them, 256x256 JPEG files."""
    from tests.alexnet_tf.serving.exported_models import stored_pictures_of

    return stored_pictures_of(tiny_data)


@pytest.fixture(scope="session")
def server(quick_models: Path) -> Iterator[Server]:
    """The local server with small limits, on the 2012 program's net."""
    with local_server(quick_models, "--max-batch=4", "--max-body=4") as started:
        yield started


@pytest.fixture(scope="session", params=["alexnet_tf.serve", "tensorflow_model_server"])
def any_server(request: pytest.FixtureRequest, program: "Exported") -> Iterator[Server]:
    """This project's server, then the real TensorFlow Serving where it is installed."""
    if request.param == "alexnet_tf.serve":
        yield request.getfixturevalue("server")
        return
    if shutil.which(request.param) is None:
        pytest.skip("NO TENSORFLOW SERVING: there is no tensorflow_model_server on the PATH")
    with tensorflow_model_server(program.models) as started:
        yield started
