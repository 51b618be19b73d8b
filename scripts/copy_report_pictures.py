"""Makes docs/report_answers.png and docs/report_grad_cam.png for the README, from the report of `make demo`.

    make demo && .venv/bin/python scripts/copy_report_pictures.py

They show drawn pictures alone. A palette of 256 colors keeps them small.
"""

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 900
"""Of a picture, in pixels."""


def main() -> None:
    """Writes both pictures from the report in the folder that is named, or in build/demo/report."""
    report = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/demo/report"
    for name in ("answers", "grad_cam"):
        if not (report / f"{name}.png").is_file():
            raise SystemExit(f"{report} holds no {name}.png: make demo writes it")
        picture = Image.open(report / f"{name}.png").convert("RGB")
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        small = picture.resize(size, Image.Resampling.LANCZOS).quantize(256, Image.Quantize.MEDIANCUT)
        path = ROOT / f"docs/report_{name}.png"
        small.save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
