"""Folders with the files of an export, but nothing in them that a server could load: for what only looks at names."""

import json
from pathlib import Path
from typing import Any

from alexnet_tf.serving.versions import MAKER, MODEL_FILE

OLDEST = {"preset": "paper", "classes": 2, "checkpoint_step": 1, "validation": None, "seed": 0, "commit": None,
          "exported": "2024-01-01T00:00:00+00:00", "tensorflow": "2.15.0", "license": "none", "limits": {}}  # fmt: skip
"""The metadata of the first exports that had any."""
OLDER = {
    "classes": 2,
    "nets": [],
    **{key: OLDEST[key] for key in ("commit", "exported", "tensorflow", "license", "limits")},
}
"""The metadata of exports before they named their maker."""


def write_export(folder: Path, model: Any = None) -> Path:
    files = {
        "saved_model.pb": "graph",
        "fingerprint.pb": "",
        "variables/variables.index": "",
        "variables/variables.data-00000-of-00001": "weights",
        "assets.extra/classes.json": "{}",
        "assets.extra/model_card.md": "",
        "assets.extra/examples/0-1.jpg": "",
        "assets.extra/tf_serving_warmup_requests": "",
        str(MODEL_FILE): json.dumps({"made_by": MAKER} if model is None else model),
    }
    (folder / "assets").mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder
