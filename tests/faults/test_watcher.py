"""The local server's look-out for new versions, while files come and go beneath it."""

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_tf.local_server import served_model
from alexnet_tf.local_server.served_model import ServedModel
from tests.alexnet_tf.serving.conftest import export_of, program, quick_models  # noqa: F401
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def watched(
    quick_models: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServedModel, list[str]]]:
    """A model's folder with version 1, whose name has leading zeros, looked at 100 times a second."""
    folder = tmp_path_factory.mktemp("watched") / "alexnet"
    shutil.copytree(quick_models / "1", folder / "0001")
    model, told, stop = ServedModel("alexnet", folder), [], threading.Event()
    watcher = threading.Thread(target=model.watch, args=(stop, 0.01, told.append))
    watcher.start()
    yield model, told
    stop.set()
    watcher.join()


def test_it_lives_on_while_files_come_and_go(watched: tuple[ServedModel, list[str]]) -> None:
    model, told = watched
    end = time.monotonic() + 1.5
    while time.monotonic() < end:  # as rsync and rm -rf do it
        half = model.folder / "2"
        (half / "variables").mkdir(parents=True)
        for number in range(100):
            (half / "variables" / f".part-{number}").write_bytes(b"x")
        (half / "broken").symlink_to("nowhere")
        (half / "loop").symlink_to("loop")
        shutil.rmtree(half)
    away = model.folder.with_name("away")
    for _ in range(20):  # the whole folder, too
        model.folder.rename(away)
        model.folder.symlink_to("nowhere")
        time.sleep(0.02)
        model.folder.unlink()
        away.rename(model.folder)
    shutil.copytree(model.folder / "0001", model.folder / "3")
    wait_until(lambda: model.version("alexnet", None).number == 3)
    wait_until(lambda: "version 3 of alexnet serves now" in told)


def test_the_memory_of_versions_before_is_freed(watched: tuple[ServedModel, list[str]]) -> None:
    """Python itself would not look for their circles before many thousand requests."""
    model, _ = watched
    gc.disable()
    try:
        held = model.version("alexnet", None)  # by a request
        graph = weakref.ref(held.session.graph)
        shutil.copytree(model.folder / "0001", model.folder / "4")
        wait_until(lambda: model.number == 4)
        time.sleep(0.1)
        assert graph() is not None
        del held
        wait_until(lambda: graph() is None)
    finally:
        gc.enable()


def test_a_look_that_fails_is_told_once_and_tried_again(
    watched: tuple[ServedModel, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = watched
    told.clear()

    def fail(folder: Path) -> dict[int, Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patch:  # root may look everywhere
        patch.setattr(served_model, "version_folders", fail)
        time.sleep(0.3)
    assert len(told) == 1 and "cannot be looked through for new versions: [Errno 13] Permission denied" in told[0]
    shutil.copytree(model.folder / "0001", model.folder / "5")
    wait_until(lambda: model.version("alexnet", None).number == 5)
