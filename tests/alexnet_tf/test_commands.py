"""The command lines of all commands: complete, in plain words, and answered without loading TensorFlow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alexnet_tf.__main__ import COMMANDS, call
from alexnet_tf.program.errors import WRONG_USAGE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    line = [sys.executable, "-m", "tests.alexnet_tf.read_command_lines"]
    return json.loads(subprocess.run(line, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout)


def test_help_and_wrong_usage_need_nothing_that_is_slow_to_load(told: dict[str, Any]) -> None:
    assert {name: command["loaded"] for name, command in told.items() if command["loaded"]} == {}
    assert {command["wrong usage"] for command in told.values()} == {WRONG_USAGE}


def test_faults_of_a_config_are_told_before_tensorflow_is_loaded(told: dict[str, Any]) -> None:
    for name in ("train", "devices"):
        missing, unknown, override = told[name]["faults"]
        assert missing.startswith("config away.yaml cannot be read: No such file")
        assert unknown.startswith("--config away: there is no such file, and no config of that name: 2012-code, ")
        assert override.partition(": ")[2].startswith("unknown key data.bach_size; known here: dir, ")


def test_every_option_and_every_command_is_described(told: dict[str, Any]) -> None:
    for name, command in told.items():
        for parser in command["parsers"]:
            assert parser["prog"].startswith(f"alexnet-tf {name}")
            first = parser["description"].strip().split("\n\n")[0]
            assert first.endswith(".") and len(first.split()) > 3, f"{parser['prog']}: no sentence: {first!r}"
            assert "Exit status:" in parser["help"]
            for option, text in parser["options"].items():
                assert text and len(text) > 15, f"{parser['prog']} {option}: {text!r}"


def test_defaults_are_told(told: dict[str, Any]) -> None:
    text = " ".join(told["serve"]["parsers"][0]["help"].split())
    assert "(default: 8501)" in text and "(default: 40)" in text and text.count("(default: the folder's name)") == 1
    assert "drawn by --seed" in (folder := " ".join(told["convert"]["parsers"][1]["help"].split()))
    assert "what --val-fraction draws (default: 0)" in folder  # 0 is a value, too


def test_every_command_is_listed_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    files = {path.stem for path in (ROOT / "alexnet_tf").glob("*.py")} - {"__init__", "__main__", "towers"}
    modules = {command.module for command in COMMANDS if command.module.startswith("alexnet_tf.")}
    assert {f"alexnet_tf.{file}" for file in files} == modules
    assert call([]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines == [[command.name, command.sentence] for command in COMMANDS]
    assert all(sentence.endswith(".") for _, sentence in lines)
    order = ["convert", "verify", "train", "evaluate", "export", "serve", "client"]
    assert [name for name, _ in lines if name in order] == order


@pytest.mark.parametrize("document", ["README.md", "docs/DISTRIBUTED.md"])
def test_documented_calls_have_options_that_exist(told: dict[str, Any], document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [line.split(" #")[0].split() for line in re.findall(r"^alexnet-tf (.*)", text, re.MULTILINE)]
    assert len(calls) > 2
    for name, *arguments in calls:
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        parsers = [parser for parser in told[name]["parsers"] if parser["prog"].split()[2:] in ([], own[:1])]
        known = {option for option in parsers[-1]["options"] if option.startswith("--")}
        assert {argument for argument in own if argument.startswith("--")} <= known, (name, own)


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["trian", "--run", "x"]) == WRONG_USAGE
    assert capsys.readouterr().err == "alexnet-tf: error: there is no command trian; did you mean train?\n"
    assert call(["start_workers"]) == WRONG_USAGE
    assert "did you mean start-workers?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("door", "called"),
    [
        (["train.py"], "train.py"), (["export.py"], "export.py"), (["-m", "alexnet_tf", "train"], "alexnet-tf train"),
        (["-m", "tfrecords.convert"], "python -m tfrecords.convert"),
        (["-m", "alexnet_tf.start_workers"], "python -m alexnet_tf.start_workers"),
    ],
)  # fmt: skip
def test_every_door_calls_itself_by_its_own_name(door: list[str], called: str) -> None:
    shown = subprocess.run(
        [sys.executable, *door, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.startswith(f"usage: {called} ")


WRONG_PATHS = (
    ("export", "--run", "nowhere", "--out", "models"), ("evaluate", "--run", "nowhere"),
    ("report", "--run", "nowhere", "--out", "report"), ("compare", "nowhere", "nobody"),
    ("predict", "--model", "nowhere", "cat.jpg"), ("train", "--config", "paper", "--run", "run", "data.dir=nowhere"),
    ("export-weights", "--run", "nowhere", "--caffemodel", "net"),
)  # fmt: skip


def test_a_wrong_path_is_told_before_tensorflow_is_loaded(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from alexnet_tf.__main__ import call\n"
        "from alexnet_tf.program.errors import UserError\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        call(command)\n"
        "    except UserError as fault:\n"
        "        print(fault, 'tensorflow' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, json.dumps(WRONG_PATHS)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = ended.stdout.splitlines()
    assert len(lines) == len(WRONG_PATHS), ended.stderr
    assert all("nowhere" in line and line.endswith(" False") for line in lines), ended.stdout
    assert not list(tmp_path.iterdir())
