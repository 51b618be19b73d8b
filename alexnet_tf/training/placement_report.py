"""The placement report: where the runtime really put every operation of a training step.

Read from the graphs that TensorFlow runs, one per device, after all of its optimizations: not from what was asked for.
The command `devices` prints it.
"""

import math
import re
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.network import named_layers
from alexnet_tf.settings.config import Config
from alexnet_tf.towers import Towers, set_up_towers
from alexnet_tf.training.step import TrainingStep
from tfrecords.manifest import MANIFEST_FILE, load_manifest
from tfrecords.statistics import Statistics

PHASES = ("forward", "gradient", "update")
GRADIENT_ROOTS = ("gradients", "gradient_tape")
"""What the names of gradients begin with: those of tf.gradients, and those of a tape."""
OWN_SCOPES = {f"{scope}_{tower}": tower for scope in ("prepare", "loss") for tower in "ab"}
"""The parts of the step itself that belong to a tower, beside its layers."""
CROSSING_KINDS = ("activation", "gradient", "fed", "stray", "control")
PLUMBING = {
    "_Arg", "_DeviceArg", "_Retval", "_DeviceRetval", "Const", "Identity", "IdentityN", "NoOp", "Placeholder", "Shape",
    "_Send", "_Recv", "_HostSend", "_HostRecv",
}  # fmt: skip
"""Operations that compute nothing; sends and receives are reported as crossings instead."""


@dataclass(frozen=True)
class Operation:
    """One operation of a tower, as placed."""

    name: str
    type: str
    phase: str
    tower: str
    device: str


@dataclass(frozen=True)
class Crossing:
    """One tensor that goes from device to device in every step."""

    tensor: str
    source: str
    target: str
    kind: str
    """"activation", "gradient", "fed" (an argument of the step), "control" (an order, no data) or "stray"."""
    layer: str
    """The layer whose input it is (or whose input's gradient)."""
    shape: tuple[int, ...] | None
    """Per image; None for what is sent once a step."""
    bytes: int
    """Per image, or per step where `shape` is None."""


@dataclass(frozen=True)
class Placement:
    """Everything the report says."""

    towers: Towers
    operations: list[Operation]
    crossings: list[Crossing]

    @property
    def strayed(self) -> list[str]:
        """Operations and tensors that are on the wrong device, a line each."""
        home = {"a": short_name(self.towers.a), "b": short_name(self.towers.b)}
        lines = [
            f"{op.type} {op.name} of tower {op.tower} is on {op.device}, not on {home[op.tower]}"
            for op in self.operations
            if op.device != home[op.tower]
        ]
        return lines + [
            f"{c.tensor} crosses from {c.source} to {c.target}" for c in self.crossings if c.kind == "stray"
        ]


def placement_of(config: Config) -> Placement:
    """Where a config's training step runs; the data's classes are counted where the data are there, else 1000."""
    towers = set_up_towers(config.devices)
    data = config.data.dir
    num_classes = load_manifest(data).num_classes if (data / MANIFEST_FILE).exists() else 1000
    statistics = None
    if config.data.augment_on == "device":  # the numbers do not matter here
        statistics = Statistics.of_mean_image(np.zeros(config.preset.network.stored_shape))
    return measure_placement(TrainingStep(config.preset, num_classes, towers, config.train.seed, statistics))


def measure_placement(step: TrainingStep, batch_size: int = 4) -> Placement:
    """Runs a step once and reads where it ran. The step must not have run before, and its weights change a little."""
    images = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), step.input_specs(batch_size))
    labels = tf.zeros((batch_size,), tf.int64)
    arguments = step.arguments(images, labels, 0, dict.fromkeys(step.optimizer.variables, 1e-9))
    partitions = _partition_graphs(lambda: step.compiled(*arguments))
    traced = step.compiled.get_concrete_function(*arguments)
    scopes = {**OWN_SCOPES, **{layer.name: layer.tower for layer in named_layers(step.model)}}
    return _Reader(partitions, traced.graph, step.towers, batch_size, scopes).read()


def _partition_graphs(run: Any) -> list[Any]:
    """The graphs of the first run of a tf.function, one per device, as the runtime cut and optimized them."""
    with tempfile.TemporaryDirectory() as folder:
        writer = tf.summary.create_file_writer(folder)
        tf.summary.trace_on(graph=True)  # must come before the function's first call: later ones leave no trace
        run()
        with writer.as_default():
            tf.summary.trace_export("step", step=0)
        writer.close()
        for path in Path(folder).iterdir():
            for record in tf.data.TFRecordDataset(str(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for value in event.summary.value:
                    metadata = tf.compat.v1.RunMetadata.FromString(value.tensor.string_val[0])
                    # Small eager operations may be among them, too, each as a function of its own.
                    functions = [list(function.partition_graphs) for function in metadata.function_graphs]
                    return max(functions, key=lambda graphs: sum(len(graph.node) for graph in graphs))
    raise RuntimeError("TensorFlow left no trace of the step")


class _Reader:
    """Joins the graphs of all devices into one and reads operations and crossings from it."""

    def __init__(
        self, partitions: list[Any], traced: tf.Graph, towers: Towers, batch_size: int, scopes: dict[str, str]
    ) -> None:
        self.scopes = scopes
        """Towers by the parts of an operation's name that belong to them."""
        self.traced = traced
        self.towers = towers
        self.batch_size = batch_size
        self.nodes = {node.name: node for graph in partitions for node in graph.node}
        self.received = {n.attr["tensor_name"].s: n.name for n in self.nodes.values() if n.op in ("_Recv", "_HostRecv")}
        self.consumers: dict[str, list[str]] = defaultdict(list)
        for node in self.nodes.values():
            for source in node.input:
                self.consumers[_node_of(source)].append(node.name)
            if node.op in ("_Send", "_HostSend"):  # what is sent is consumed where it is received
                self.consumers[node.name].append(self.received[node.attr["tensor_name"].s])

    def read(self) -> Placement:
        operations = [
            Operation(node.name, _plain_type(node.op), _phase(node.name), tower, short_name(node.device))
            for node in self.nodes.values()
            if node.op not in PLUMBING and (tower := self._tower(node.name)) is not None
        ]
        sends = [node for node in self.nodes.values() if node.op in ("_Send", "_HostSend")]
        return Placement(self.towers, operations, [self._crossing(node) for node in sends])

    def _tower(self, name: str) -> str | None:
        """The tower of the layer in its name; a sum of gradients has no layer and belongs to the tower that uses it."""
        parts = name.split("/")
        # Of a name that was used before TensorFlow appends _1.
        marked = next((self.scopes[p] for part in parts for p in (part, _unnumbered(part)) if p in self.scopes), None)
        if marked or _phase(name) != "gradient":
            return marked
        return next((tower for user in self.consumers[name] if (tower := self._tower(user))), None)

    def _crossing(self, send: Any) -> Crossing:
        source = self.nodes[_node_of(send.input[0])]
        users = self.consumers[self.received[send.attr["tensor_name"].s]]
        layer = _joined_layer(source.name) if _phase(source.name) == "gradient" else None
        kind = "gradient" if layer else "stray"
        if source.op in ("_Arg", "_DeviceArg"):
            kind, layer = "fed", ""
        elif "ControlEdge" in source.name or "/ctrl/_" in source.name or send.input[0].startswith("^"):
            kind, layer = "control", ""
        elif _phase(source.name) == "forward" and users and all(_joined_layer(user) for user in users):
            kind, layer = "activation", _joined_layer(users[0])
        shape = self._shape(send.input[0]) or []
        item = tf.dtypes.as_dtype(send.attr["T"].type).size if kind != "control" else 0
        per_image = shape[:1] == [self.batch_size]
        return Crossing(
            tensor=source.name,
            source=short_name(send.attr["send_device"].s.decode()),
            target=short_name(send.attr["recv_device"].s.decode()),
            kind=kind,
            layer=layer or "",
            shape=tuple(shape[1:]) if per_image else None,
            bytes=item * math.prod(shape[1:] if per_image else shape),
        )

    def _shape(self, tensor: str) -> list[int] | None:
        """From the graph as traced, which knows shapes; optimizations keep the names of what remains."""
        name, _, output = tensor.lstrip("^").partition(":")
        try:
            operation = self.traced.get_operation_by_name(name)
        except KeyError:
            return None
        number = int(output or 0)  # a fused operation may have outputs that it did not have when traced
        if number >= len(operation.outputs) or not operation.outputs[number].shape.is_fully_defined():
            return None
        return operation.outputs[number].shape.as_list()


def short_name(device: str | None) -> str:
    """Shortens "/job:localhost/replica:0/task:0/device:CPU:1" to "CPU:1"."""
    return (device or "").rpartition("device:")[2]


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]


def _unnumbered(part: str) -> str:
    return re.sub(r"_\d+$", "", part)


def _joined_layer(name: str) -> str | None:
    """Finds "conv3" in the name of an operation of join_conv3_a."""
    found = re.search(r"/join_(\w+?)_[ab](?:_\d+)?/", name)
    return found[1] if found else None


def _phase(name: str) -> str:
    root = name.partition("/")[0]
    return "gradient" if root in GRADIENT_ROOTS else "update" if root == "update" else "forward"


def _plain_type(op: str) -> str:
    """The name of the operation without the marks of the library that runs it."""
    return re.sub(r"^_(MklNative|Mkl)?(Fused)?", "", op)


def report_lines(placement: Placement) -> list[str]:
    """The report as lines of text."""
    lines = [f"tower a: {placement.towers.a}   tower b: {placement.towers.b}", ""]
    lines += _operation_table(placement)
    lines += ["", *_crossing_table(placement), ""]
    if placement.strayed:
        lines += [f"{len(placement.strayed)} strayed:", *(f"  {line}" for line in placement.strayed)]
    else:
        lines.append("Every operation of either tower is on its own device, and nothing else crosses.")
    return lines


def _operation_table(placement: Placement) -> list[str]:
    devices = sorted({op.device for op in placement.operations})
    columns = [(tower, device) for tower in "ab" for device in devices]
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for op in placement.operations:
        counts[op.phase, op.type][op.tower, op.device] += 1
        counts[op.phase, ""][op.tower, op.device] += 1
        counts["", ""][op.tower, op.device] += 1

    def row(title: str, key: tuple[str, str]) -> str:
        return f"{title:<40}" + "".join(f"{counts[key][column]:>12}" for column in columns)

    lines = [f"{'operations':<40}" + "".join(f"{f'{tower} on {device}':>12}" for tower, device in columns)]
    for phase in PHASES:
        lines.append(row(phase, (phase, "")))
        types = sorted(kind for of_phase, kind in counts if of_phase == phase and kind)
        lines += [row(f"  {kind}", (phase, kind)) for kind in types]
    return [*lines, row("total", ("", ""))]


def _crossing_table(placement: Placement) -> list[str]:
    if not placement.crossings:
        return ["nothing crosses: the whole network is on one device"]
    lines = [f"{'tensors that cross':<40}{'from':>8}{'to':>8}{'shape per image':>20}{'bytes per image':>18}"]
    data = [crossing for crossing in placement.crossings if crossing.kind != "control"]
    for crossing in sorted(data, key=lambda crossing: CROSSING_KINDS.index(crossing.kind)):
        title = {
            "activation": f"input of {crossing.layer}",
            "gradient": f"gradient of the input of {crossing.layer}",
            "fed": f"fed: {crossing.tensor}",
        }.get(crossing.kind, crossing.tensor)
        shape = "x".join(map(str, crossing.shape)) if crossing.shape is not None else "once a step"
        size = f"{crossing.bytes:,}" if crossing.shape is not None else f"({crossing.bytes:,})"
        lines.append(f"{title:<40}{crossing.source:>8}{crossing.target:>8}{shape:>20}{size:>18}")
    for kind in ("activation", "gradient"):
        total = sum(c.bytes for c in placement.crossings if c.kind == kind)
        lines.append(f"{f'total of {kind}s':<76}{total:>18,}")
    return lines


def report_dict(placement: Placement) -> dict[str, Any]:
    """The report as a dictionary, for programs."""
    counts = Counter((op.tower, op.phase, op.type, op.device) for op in placement.operations)
    crossings = [asdict(crossing) for crossing in placement.crossings if crossing.kind != "control"]
    return {
        "towers": asdict(placement.towers),
        "operations": [
            {"tower": tower, "phase": phase, "type": kind, "device": device, "count": count}
            for (tower, phase, kind, device), count in sorted(counts.items())
        ],
        "crossings": crossings,
        "bytes_per_image": {
            kind: sum(c["bytes"] for c in crossings if c["kind"] == kind) for kind in ("activation", "gradient")
        },
        "strayed": placement.strayed,
    }
