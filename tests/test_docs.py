"""What the documents point at is there: tests that are named as proofs, files that are linked."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "tfrecords/README.md"]
DOCUMENTS += sorted(ROOT.glob("deploy/**/README.md"))


@pytest.mark.parametrize(
    ("document", "usual"), [("FIDELITY.md", "tests/alexnet_tf"), ("RELIABILITY.md", "tests/faults")]
)
def test_every_proof_is_a_test(document: str, usual: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    proofs = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)((?:::\w+)*)`", text)
    assert len(proofs) > 20
    for file, path in proofs:
        folder = ROOT / ("tests" if "/" in file else usual)
        source = (folder / file).read_text(encoding="utf-8")
        for name in path.split("::")[1:]:
            kind = "class" if name.startswith("Test") else "def"
            assert re.search(rf"^\s*{kind} {name}\b", source, re.MULTILINE), f"{file}{path}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_linked_file_is_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []
