"""What `pip install .` gives: the wheel, installed beside nothing else of this project, at work in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("alexnet_tf", "tfrecords")


def run(*line: str | Path, folder: Path, **options: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | options
    ended = subprocess.run(
        list(map(str, line)), cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither leaves anything behind nor finds what an earlier build has left."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "configs", "demo", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    build = ("-m", "pip", "--disable-pip-version-check", "wheel", "--no-build-isolation", "--no-deps", "--no-index")
    run(sys.executable, *build, "--wheel-dir=dist", ".", folder=source)
    [built] = (source / "dist").iterdir()
    return built


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        for path in (ROOT / "configs").glob("*.yaml"):
            assert opened.read(f"alexnet_tf/settings/configs/{path.name}") == path.read_bytes()
    code = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    page = {f"alexnet_tf/local_server/page/{path.name}" for path in (ROOT / "alexnet_tf/local_server/page").iterdir()}
    assert code | page <= names
    assert {name.split("/")[0] for name in names} == set(PACKAGES)


def test_it_converts_trains_and_exports_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "environment", tmp_path / "empty"
    run(sys.executable, "-m", "venv", "--without-pip", home, folder=tmp_path)
    python, program = home / "bin/python", home / "bin/alexnet-tf"
    [packages] = (home / "lib").glob("python*/site-packages")
    (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = ("-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--no-deps", "--no-index")
    run(sys.executable, *install, "--force-reinstall", wheel, folder=tmp_path)
    for split, count in (("train", 4), ("val", 1)):
        for value, key in enumerate(("dark", "light")):
            (empty / "pictures" / split / key).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((30, 30), 60 + 120 * value + number, np.uint8)
                Image.fromarray(pixels).save(empty / "pictures" / split / key / f"{number}.png")
    where = run(python, "-c", "import alexnet_tf; print(alexnet_tf.__file__)", folder=empty).strip()
    assert Path(where).is_relative_to(home)

    pictures = ("--train=pictures/train", "--val=pictures/val", "--out=data", "--size=28", "--channels=1")
    assert "train 8 images" in run(program, "convert", "folder", *pictures, "--workers=1", folder=empty)
    settings = ("data.dir=data", "data.batch_size=4", "train.epochs=1")
    trained = run(program, "train", "--config=lenet5-mnist", "--run=run", *settings, folder=empty)
    assert "config " in trained and (empty / "run/resolved.yaml").is_file()
    assert run(program, "export", "--run=run", "--out=models/lenet", folder=empty).strip() == "models/lenet/1"
    assert (empty / "models/lenet/1/saved_model.pb").is_file()
