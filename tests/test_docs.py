"""What the documents point at is there: tests that are named as proofs, files that are linked."""

import re
import runpy
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "tfrecords/README.md"]
DOCUMENTS += sorted(ROOT.glob("deploy/**/README.md"))


@pytest.mark.parametrize(
    ("document", "usual"), [("FIDELITY.md", "tests/alexnet_tf"), ("RELIABILITY.md", "tests/faults")]
)
def test_every_proof_is_a_test(document: str, usual: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    proofs = re.findall(r"`((?:\w+/)*test_\w+\.py)((?:::\w+)*)`", text)
    assert len(proofs) > 20
    for file, path in proofs:
        # One that is named without its folder is the only file of that name below the usual one.
        below_tests = Path("tests") / file.removeprefix("tests/")
        (found,) = [ROOT / below_tests] if "/" in file else (ROOT / usual).rglob(file)
        source = found.read_text(encoding="utf-8")
        for name in path.split("::")[1:]:
            kind = "class" if name.startswith("Test") else "def"
            assert re.search(rf"^\s*{kind} {name}\b", source, re.MULTILINE), f"{file}{path}"


def test_commits_are_held_to_what_make_lint_checks() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    checks = [line.strip().replace("$(PY)", ".venv/bin/python") for line in recipe[1].splitlines()]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == checks


def test_the_picture_of_the_house_knows_every_room() -> None:
    pytest.importorskip("tomllib")  # Python 3.11 or later
    script = runpy.run_path(str(ROOT / "scripts/draw_architecture.py"))
    floors = script["read_floors"]()  # fails where the picture and the linter's contract differ
    assert len(floors) > 5 and {room for room, _ in script["WAY"]} <= {room for floor in floors for room in floor}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_linked_file_is_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_the_readmes_settings_for_small_pictures_are_taken() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## AlexNet's relatives")[2]
    rows = re.findall(
        r"^\| ((?:`[\w-]+`(?:, )?)+) \| `(model\.image_size=[^`]+)`(?:, or ([\d, ]+))? \|$", section, re.MULTILINE
    )
    given: dict[str, set[int]] = {}
    for names, settings, others in rows:
        for preset in re.findall(r"[\w-]+", names):
            size = re.search(r"image_size=(\d+)", settings)[1]
            for pixels in [size, *re.findall(r"\d+", others)]:
                chosen = settings.replace(f"size={size}", f"size={pixels}").split()
                config = parse_config("", "README.md", [f"model.preset={preset}", *chosen])
                given.setdefault(preset, set()).add(config.preset.network.image_size)
    for preset, sizes in given.items():  # all that the preset takes
        kinds = get_args(get_type_hints(type(PRESETS[preset].network))["image_size"])
        assert {*sizes, PRESETS[preset].network.image_size} == set(kinds), preset
    assert set(given) == {name for name, preset in PRESETS.items() if "image_size" in preset.network.choices}
