"""LitServe with ONNX Runtime: what serves a run that was exported with `--format onnx`, in a few lines.

    python -m benchmarks.litserve_peer --version MODELS/onnx/1 --port 8000

It answers the requests of TensorFlow Serving's REST interface, so that the client of the other servers asks it, too. A
picture is prepared as the export's README.md says, for networks from which the mean image is subtracted.
"""

import argparse
import base64
import io
import json
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from alexnet_tf.serving.versions import CLASSES_FILE, MODEL_FILES, STATISTICS_COPY

BEST = 5
"""Classes in an answer."""
LARGEST_BATCH = 32
BATCH_SECONDS = 0.005
"""How long a request waits for others to share a batch with."""


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", type=Path, required=True, help="a version's folder, exported with --format onnx")
    parser.add_argument("--port", type=int, required=True, help="at the loopback interface")
    options = parser.parse_args()
    path = f"/v1/models/{options.version.parent.name}:predict"
    served = OnnxModel(options.version, max_batch_size=LARGEST_BATCH, batch_timeout=BATCH_SECONDS, api_path=path)
    server = litserve.LitServer(served, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, num_api_servers=1, log_level="warning")


class OnnxModel(litserve.LitAPI):
    """The network in LitServe's stations: a request's picture, a batch of views, an answer."""

    def __init__(self, version: Path, **options: Any) -> None:
        super().__init__(**options)
        self.version = version

    def setup(self, device: str) -> None:
        """Loads network, mean image and class names in the process that runs the network."""
        del device
        model = str(self.version / MODEL_FILES["onnx"])
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.mean = np.load(self.version / STATISTICS_COPY)["mean_image"].astype(np.float32)
        self.crop = self.session.get_inputs()[0].shape[1]
        self.classes = json.loads((self.version / CLASSES_FILE).read_text(encoding="utf-8"))

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """A request of one picture to its central view, float32 (crop, crop, 3) less the mean."""
        (instance,) = request["instances"]
        file = io.BytesIO(base64.b64decode(instance["image_bytes"]["b64"]))
        stored = len(self.mean)
        picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        size = [round(side * stored / min(picture.size)) for side in picture.size]
        left, top = [(side - stored) // 2 for side in size]
        box = (left, top, left + stored, top + stored)
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC).crop(box), np.float32) - self.mean
        far = (stored - self.crop) // 2
        return pixels[far : far + self.crop, far : far + self.crop]

    def predict(self, views: np.ndarray) -> np.ndarray:
        """float32 (N, crop, crop, 3) to probabilities (N, classes)."""
        probabilities: np.ndarray = self.session.run(None, {self.session.get_inputs()[0].name: views})[0]
        return probabilities

    def encode_response(self, probabilities: np.ndarray) -> dict[str, Any]:
        """The most probable classes of one picture, in the form of TensorFlow Serving."""
        best = probabilities.argsort()[::-1][:BEST]
        keys, names = self.classes["keys"], self.classes["names"]
        row = {
            "labels": [keys[label] for label in best],
            "classes": [names[label] for label in best],
            "scores": probabilities[best].tolist(),
            "status": "ok",
        }
        return {"predictions": [row]}


if __name__ == "__main__":
    main()
