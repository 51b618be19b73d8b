"""The weights in published files, by our layers' names: Caffe's AlexNet and CaffeNet, and torchvision's alexnet."""

from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.weights.caffemodel import read_caffemodel
from alexnet_tf.weights.layouts import LAYERS, LayerWeights
from alexnet_tf.weights.torch_state_dict import read_state_dict

TORCHVISION_NAMES = {
    "conv1": "features.0", "conv2": "features.3", "conv3": "features.6", "conv4": "features.8", "conv5": "features.10",
    "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6",
}  # fmt: skip
"""Names of torchvision's modules, by our layers."""


def caffe_layers(path: AnyPath, chosen: str | None) -> tuple[str, dict[str, LayerWeights]]:
    """The preset and the weights by layer, the older form's four sides taken back to what they mean.

    Args:
      path: a .caffemodel.
      chosen: the preset for a file that does not say where it normalizes.

    Raises:
      UserError: it is no such file, of another net, or its preset is not known.
    """
    path = Path(path)
    layers = read_caffemodel(path)
    weights = {}
    for layer in layers:
        if len(layer.blobs) == 2:
            kernel, bias = layer.blobs
            flat = kernel.ndim == 4 and kernel.shape[:2] == (1, 1)  # fully connected: 1 x 1 x outputs x inputs
            weights[layer.name] = (kernel[0, 0] if flat else kernel, bias.reshape(-1))
        elif layer.blobs:
            raise UserError(f"{path} is another net: layer {layer.name} has {len(layer.blobs)} blobs, not 2")
    _check_names(path, list(weights), list(LAYERS))
    before_norm1 = next((layer.bottom[0] for layer in layers if layer.name == "norm1" and layer.bottom), "")
    found = {"conv1": "caffe", "pool1": "caffenet"}.get(before_norm1)
    if found and chosen and found != chosen:
        raise UserError(f"--preset {chosen}: {path} normalizes the output of {before_norm1}, which is {found}")
    preset = found or chosen
    if preset is None:
        raise UserError(
            f"{path} does not tell whether it normalizes first or pools first; give --preset caffe (bvlc_alexnet: "
            "normalizes first) or caffenet"
        )
    return preset, weights


def torchvision_layers(path: AnyPath) -> dict[str, LayerWeights]:
    """The weights by layer, of a state dict that torchvision's alexnet takes.

    Raises:
      UserError: it is no such file, or of another net.
    """
    path = Path(path)
    # "module." is what DataParallel puts before each name.
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_state_dict(path).items()}
    expected = {layer: (f"{name}.weight", f"{name}.bias") for layer, name in TORCHVISION_NAMES.items()}
    _check_names(path, list(tensors), [name for names in expected.values() for name in names])
    return {layer: (tensors[weight], tensors[bias]) for layer, (weight, bias) in expected.items()}


def _check_names(path: Path, found: list[str], expected: list[str]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise UserError(f"{path} is another net: it has no weights {missing[0]}; it has {', '.join(found) or 'none'}")
    extra = [name for name in found if name not in expected]
    if extra:
        raise UserError(f"{path} is another net: it has weights {extra[0]}, which this one does not know")
