"""The demo's pictures: complete, repeatable, varied, and with their shape in plain view."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tf.program.errors import UserError
from demo import generate_images as images

KINDS = sorted(images.KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "images"
    images.generate(out, per_class=12, seed=5)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_layout(folder: Path) -> None:
    assert len(KINDS) == 10
    assert sorted(path.name for path in (folder / "train").iterdir()) == KINDS
    assert sorted(path.name for path in (folder / "val").iterdir()) == KINDS
    assert sorted(path.name for path in (folder / "unseen").iterdir()) == [f"{k}.jpg" for k in KINDS]
    for kind in KINDS:
        assert len(list((folder / "train" / kind).iterdir())) == 10
        assert len(list((folder / "val" / kind).iterdir())) == 2
    lines = (folder / "synset_words.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == KINDS
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_default_is_a_thousand_and_two_hundred(tmp_path: Path) -> None:
    plan = images.plan(tmp_path, per_class=120, seed=0)
    counts = {s: sum(p.path.is_relative_to(tmp_path / s) for p in plan) for s in images.SPLITS}
    assert counts == {"train": 1000, "val": 200, "unseen": 10}
    assert len({picture.path for picture in plan}) == len({p.entropy for p in plan}) == len(plan)


def test_same_bytes_whatever_the_workers(folder: Path, tmp_path: Path) -> None:
    images.generate(tmp_path / "again", per_class=12, seed=5, workers=2)
    assert contents(tmp_path / "again") == contents(folder)


def test_no_picture_twice_and_other_seeds_draw_others(folder: Path, tmp_path: Path) -> None:
    images.generate(tmp_path / "other", per_class=6, seed=6)
    ours = [data for name, data in contents(folder).items() if not name.endswith(".txt")]
    others = [data for name, data in contents(tmp_path / "other").items() if name[-3:] != "txt"]
    assert len(set(ours + others)) == len(ours) + len(others)


def test_pictures_are_varied_color_files(folder: Path) -> None:
    seen = []
    for path in (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".txt"):
        with Image.open(path) as picture:
            assert picture.mode == "RGB"
            assert picture.format == {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
            assert 180 <= min(picture.size) <= max(picture.size) <= 420
            seen.append((picture.format, np.sign(picture.width - picture.height)))
    assert len(set(seen)) >= 4, "both formats, each upright and lying"


@pytest.mark.parametrize("kind", KINDS)
def test_center_crop_shows_the_shape(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    original = images.shape_coverage
    monkeypatch.setattr(images, "shape_coverage", lambda *given: drawn.append(original(*given)) or drawn[-1])
    for seed in range(20):
        images.draw(kind, np.random.default_rng(seed))
        rows, columns = np.nonzero(drawn[-1])
        height, width = drawn[-1].shape
        margin = 0.5 * 224 / 256 * min(height, width) + 1  # a pixel for the edge's samples
        assert max(abs(rows + 0.5 - height / 2).max(), abs(columns + 0.5 - width / 2).max()) <= margin
        extent = max(np.ptp(rows), np.ptp(columns)) / min(height, width)
        assert 0.36 < extent <= 0.81, "large enough to be seen"


def polygon_area(corners: list[tuple[float, float]]) -> float:
    """The shoelace formula."""
    x, y = np.array(corners).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def regular(count: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    angles = 2 * np.pi * np.arange(count) / count
    return [(r * np.cos(a), r * np.sin(a)) for a, r in zip(angles, radii * count, strict=False)]


@pytest.mark.parametrize(
    ("kind", "corners"),
    [
        ("disc", regular(360, (90,))),
        ("triangle", regular(3, (98,))),
        ("star", regular(10, (100, 40))),
    ],
)
def test_areas_are_those_of_polygons(
    kind: str, corners: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SUPERSAMPLING", 4)

    class Middle:
        """Random numbers that are always the middle of their range."""

        def uniform(self, low: float, high: float) -> float:
            return (low + high) / 2

    coverage = images.shape_coverage(kind, Middle(), (240, 240), (120.0, 120.0), 100.0)  # type: ignore[arg-type]
    assert coverage.sum() == pytest.approx(polygon_area(corners), rel=0.005)
    assert 0 < ((coverage > 0) & (coverage < 1)).sum() < coverage.sum(), "edges are anti-aliased"


def test_ink_stands_out_from_the_ground() -> None:
    for seed in range(200):
        ground, ink = images.contrasting_colors(np.random.default_rng(seed))
        luma = [
            np.asarray(Image.new("RGB", (1, 1), tuple(int(v) for v in c)).convert("L"))[0, 0] for c in (ground, ink)
        ]
        assert int(luma[1]) - int(luma[0]) >= 78


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.txt").write_text("keep")
    command = [sys.executable, "-m", "demo.generate_images", "--out", str(tmp_path / "images")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / "images") in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "mine.txt"]


@pytest.mark.parametrize("wrong", [{"per_class": 5}, {"seed": -1}, {"workers": 0}])
def test_senseless_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="--"):
        images.generate(tmp_path / "images", **wrong)
    assert not list(tmp_path.iterdir())
