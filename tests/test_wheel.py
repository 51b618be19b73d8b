"""What `pip install .` gives: the wheel, installed beside nothing else of this project, at work in an empty folder."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_pictures
from tests.one_end import at_the_newer_end

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("alexnet_tf", "tfrecords")


def run(*line: str | Path, folder: Path, seconds: float = 300, **options: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | options
    ended = subprocess.run(
        list(map(str, line)), cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither leaves anything behind nor finds what an earlier build has left."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "configs", "demo", "benchmarks", "experiments"):
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


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which sees the packages of the tests' own one."""
    folder = tmp_path_factory.mktemp("installed")
    home = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", home, folder=folder)
    python = home / "bin/python"
    [packages] = (home / "lib").glob("python*/site-packages")
    (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = ("-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--no-deps", "--no-index")
    run(sys.executable, *install, "--force-reinstall", wheel, folder=folder)
    return home


@at_the_newer_end
def test_it_converts_trains_and_exports_in_an_empty_folder(home: Path, tmp_path: Path) -> None:
    python, program, empty = home / "bin/python", home / "bin/alexnet-tf", tmp_path / "empty"
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


def own_pictures_commands() -> list[str]:
    """The commands of the README's section of own pictures, as they stand there."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Your own pictures\n")[2]
    [block, *_] = re.findall(r"^```\n(.*?)^```", section.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    return block.splitlines()


def test_own_pictures_are_a_few_lines_of_the_one_command() -> None:
    """Whose options exist: see tests/alexnet_tf/test_commands.py. Other paths than these nobody could have."""
    commands = own_pictures_commands()
    assert [command.split()[:2] for command in commands] == [
        ["alexnet-tf", name] for name in ("convert", "new-config", "train", "evaluate", "export", "predict")
    ]
    words = {word for command in commands for word in shlex.split(command, comments=True)[2:]}
    given, made = {"PICTURES", "NEW_PICTURES", "runs/other"}, {"data/own", "own.yaml", "runs/own", "models/own"}
    assert {word for word in words if "/" in word or word.isupper() or ("." in word and not word[0].isdigit())} == (
        given | made
    )


@pytest.fixture
def photographs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """PICTURES and NEW_PICTURES of three classes, and three other ones in `other`; real where there are any."""
    try:
        archive = request.getfixturevalue("real_data") / "tinyimagenet20.tar.xz"
    except pytest.skip.Exception as fault:
        print(f"drawn pictures: {fault}")
        for folder, number, seed in (("PICTURES", 20, 0), ("NEW_PICTURES", 2, 5000), ("other", 12, 9000)):
            write_pictures(tmp_path / folder, number, seed)
        return tmp_path
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "archive", filter="data")
    [root] = (tmp_path / "archive").iterdir()
    keys = sorted(path.name for path in (root / "train").iterdir())
    for folder, split, number, chosen in (
        ("PICTURES", "train", 20, keys[:3]), ("NEW_PICTURES", "val", 2, keys[:3]), ("other", "train", 12, keys[3:6]),
    ):  # fmt: skip
        for key in chosen:
            (tmp_path / folder / key).mkdir(parents=True)
            for path in sorted((root / split / key).rglob("*.JPEG"))[:number]:
                path.rename(tmp_path / folder / key / path.name)
    shutil.rmtree(tmp_path / "archive")
    return tmp_path


@pytest.mark.slow  # some four minutes: the networks are as wide as users have them
def test_own_pictures_as_the_readme_has_it(home: Path, photographs: Path) -> None:
    folder = photographs
    path = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}

    def shell(line: str) -> str:
        return run("bash", "-c", line, folder=folder, seconds=900, **path)

    # The other run that the README presumes, trained for as long as it takes to have one.
    shell("alexnet-tf convert folder --train other --val-fraction 0.1 --out data/other --workers 1")
    shell(
        "alexnet-tf train --config tinyimagenet20 --run runs/other data.dir=data/other data.batch_size=16 train.steps=3"
    )
    told = {command.split()[1]: shell(command) for command in own_pictures_commands()}
    assert "label 2: " in told["convert"] and "label 3: " not in told["convert"]
    assert "54 training pictures of 3 classes, 18 to 18 each" in (folder / "own.yaml").read_text(encoding="utf-8")
    assert re.search(r"^val, 6 images, (10|5) views, 1 net: top-1 error", told["evaluate"], re.MULTILINE)
    assert told["export"].splitlines()[-1] == "models/own/1"
    for picture in (folder / "NEW_PICTURES").rglob("*.*"):
        assert str(picture.relative_to(folder)) in told["predict"]
    again = own_pictures_commands()[2]
    assert "run runs/own is complete" in shell(again)
    assert "the report is reports/own/report.html" in shell("alexnet-tf report --run runs/own --out reports/own")
    for place in ("runs", "models"):
        shutil.rmtree(folder / place)
