"""How training grows from one GPU to 64: the tables of docs/SCALING.md, as Markdown.

    python -m benchmarks.scaling [--preset 2012-code] [--rate 4000 --link "PCIe 4.0 x16" --network 25] [--json FILE]
    python -m benchmarks.scaling --renew docs/SCALING.md

Arithmetic on stated inputs: what crosses between the towers is read from the placed graph of a step, run once on two
logical processors; what was measured or published stands in benchmarks/figures.py with its source. With --rate
(images/s of one GPU that holds the whole network) the projections are made for your machines instead.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import set_up_towers
from alexnet_tf.training.placement_report import Placement, measure_placement, short_name
from alexnet_tf.training.step import TrainingStep
from benchmarks.cluster import GPUS_PER_WORKER, LINKS, WIRE_BYTES, Cluster, Network, ring_bytes
from benchmarks.figures import (
    EPOCHS,
    MEASURED,
    MEASURED_BATCH,
    MEASURED_CORES,
    PUBLISHED,
    SOURCES,
    STEP,
    TRAINING_IMAGES,
    TWO_TOWERS,
    WIDTHS,
    one_tower_layers,
    one_tower_parameters,
    published_rate,
)
from benchmarks.flops import count_work, gflop_per_image
from benchmarks.report import benchmark_parser, format_number, parse_options, positive, whole_number
from tfrecords.statistics import Statistics

GIGABIT = 1e9 / 8
"""Bytes/s of a network card of 1 Gbit/s, at its line rate."""
NETWORKS = (10, 25, 100, 200)
"""Gbit/s."""
GPUS = (1, 2, 4, 8, 16, 32, 64)
CLUSTERS = (
    Cluster("K80 (one chip)", published_rate("K80 (one chip)"), LINKS["PCIe 3.0 x16"], 10 * GIGABIT),
    Cluster("P100", published_rate("P100"), LINKS["PCIe 3.0 x16"], 25 * GIGABIT),
    Cluster("A100 40GB PCIe", published_rate("A100 40GB PCIe"), LINKS["PCIe 4.0 x16"], 100 * GIGABIT),
)
RAW_BYTES = math.prod(PRESETS["paper"].network.stored_shape)
"""A picture of --encoding raw."""

Rows = list[list[str]]


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    towers = set_up_towers(DevicesConfig(towers="two-cpus"))
    preset = PRESETS[options.preset]
    black = Statistics.of_mean_image(np.zeros(preset.network.stored_shape))  # the numbers do not matter here
    step = TrainingStep(preset, options.classes, towers, seed=0, statistics=black)
    tables = make_tables(step, measure_placement(step), options)
    if options.renew:
        write_whole(options.renew, renewed(options.renew, tables).encode())
    else:
        print("\n\n".join(f"{name}:\n\n{table}" for name, table in tables.items()))
    if options.json:
        write_whole(options.json, (json.dumps(tables, indent=1) + "\n").encode())
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("scaling", "Project training from one GPU to 64.", in_rounds=False)
    add = parser.add_argument
    add("--preset", choices=("paper", "2012-code", "caffe", "caffenet"), default="paper", help="the network (paper)")
    add("--classes", type=whole_number, default=1000, help="that it tells apart (1000)")
    add("--batch-size", type=whole_number, default=128, help="images a worker, that is, two GPUs (128)")
    add("--rate", type=positive, metavar="IMAGES/S", help="of one of your GPUs with the whole network")
    add("--link", choices=tuple(LINKS), default="PCIe 3.0 x16", help="with --rate: between two of your GPUs")
    add("--network", type=positive, default=10, metavar="GBIT/S", help="with --rate: of a host's card (10)")
    add("--gpus-per-host", type=whole_number, default=8, help="with --rate: that share the card (8)")
    add("--jpeg-rate", type=positive, metavar="IMAGES/S", help="of the input on one of your cores")
    add("--renew", type=Path, metavar="DOCUMENT", help="write the tables into this document instead")
    return parser


def make_tables(step: TrainingStep, placement: Placement, options: argparse.Namespace) -> dict[str, str]:
    """Every table by its name."""
    data = [crossing for crossing in placement.crossings if crossing.shape is not None]
    crossings = {
        (c.kind, c.layer, "ab" if c.source == short_name(step.towers.a) else "ba"): c.bytes
        for c in data
        if c.kind in ("activation", "gradient")
    }
    fed = sum(crossing.bytes for crossing in data if crossing.kind == "fed")
    sizes = {name: variable.shape.num_elements() for name, variable in step.variables.items()}
    network = Network(
        parameters=sum(sizes.values()),
        tower_parameters=max(sum(size for name, size in sizes.items() if f"_{tower}/" in name) for tower in ("a", "b")),
        crossing_bytes=sum(
            max(_sum_of(crossings, kind, way) for way in ("ab", "ba")) for kind in ("activation", "gradient")
        ),
    )
    clusters = _clusters(options)
    batch = options.batch_size
    tables = {
        "crossings": _crossings(crossings, fed, batch),
        "all-reduce": _all_reduce(network),
        "known": _known(gflop_per_image(count_work(step.model))),
        "published all-reduce": _published_all_reduce(),
        "step": _steps(clusters, network, batch),
        "hours": _hours(clusters, network, batch),
        "input": _input(clusters, network, batch, options.jpeg_rate),
    }
    return {name: _markdown(rows) for name, rows in tables.items()}


def _clusters(options: argparse.Namespace) -> Sequence[Cluster]:
    if options.rate is None:
        return CLUSTERS
    return [Cluster("yours", options.rate, LINKS[options.link], options.network * GIGABIT, options.gpus_per_host)]


def _sum_of(crossings: Mapping[tuple[str, str, str], int], kind: str, way: str) -> int:
    return sum(size for (of_kind, _, of_way), size in crossings.items() if (of_kind, of_way) == (kind, way))


def _crossings(crossings: Mapping[tuple[str, str, str], int], fed: int, batch: int) -> Rows:
    columns = [(kind, way) for kind in ("activation", "gradient") for way in ("ab", "ba")]
    rows = [["bytes an image", "forward, a to b", "b to a", "backward, a to b", "b to a"]]
    for layer in sorted({layer for _, layer, _ in crossings}):
        rows.append([f"input of {layer}", *(f"{crossings.get((kind, layer, way), 0):,}" for kind, way in columns)])
    sums = [_sum_of(crossings, kind, way) for kind, way in columns]
    rows.append(["all", *(f"{size:,}" for size in sums)])
    rows.append([f"a step of {batch}, MB", *(format_number(batch * size / 1e6) for size in sums)])
    rows.append(["beside it: pictures, to each tower", f"{fed:,}", "", "", ""])
    return rows


def _all_reduce(network: Network) -> Rows:
    rows = [["GPUs", "workers", "MB float32", "MB bfloat16", *(f"float32 at {speed} Gbit/s" for speed in NETWORKS)]]
    for gpus in GPUS:
        workers = gpus // GPUS_PER_WORKER
        if workers < 2:
            continue
        sent = {wire: ring_bytes(workers, network.parameters * size) for wire, size in WIRE_BYTES.items()}
        rows.append(
            [
                str(gpus),
                str(workers),
                *(format_number(size / 1e6) for size in sent.values()),
                *(f"{format_number(1e3 * sent['float32'] / (speed * GIGABIT))} ms" for speed in NETWORKS),
            ]
        )
    return rows


def _known(own_gflop: float) -> Rows:
    """Rates that were measured here or published, and what a whole run takes at them."""
    rows = [["", "AlexNet", "GFLOP an image", "timed", "batch", "images/s", f"hours, {EPOCHS} epochs", "from"]]
    rate = MEASURED["step"].value
    cells = [f"{MEASURED_CORES} cores", TWO_TOWERS, format_number(own_gflop), STEP, str(MEASURED_BATCH)]
    rows.append([*cells, format_number(rate), format_number(_hours_at(rate)), "measured: [RESULTS.md](RESULTS.md)"])
    for entry in PUBLISHED:
        gflop = gflop_per_image(one_tower_layers(entry.net)) if entry.net in WIDTHS else own_gflop
        rate = entry.images_per_second
        cells = [f"{entry.gpus} × {entry.gpu}", entry.net, format_number(gflop), entry.timed, str(entry.batch)]
        source = f"published: {SOURCES[entry.source]}"
        rows.append([*cells, format_number(rate), format_number(_hours_at(rate)), source])
    return rows


def _published_all_reduce() -> Rows:
    """What eight GPUs lose against eight times one, and how fast a ring would have to be to take just that time."""
    rows = [["8 GPUs, one replica each", "share of 8 times one", "lost a step", "a ring of that time moves, each way"]]
    steps = [entry for entry in PUBLISHED if entry.timed == STEP]
    alone = {entry.gpu: entry for entry in steps if entry.gpus == 1}
    for entry in (entry for entry in steps if entry.gpus > 1):
        lost = entry.step_seconds - alone[entry.gpu].step_seconds
        share = entry.images_per_second / (entry.gpus * alone[entry.gpu].images_per_second)
        sent = ring_bytes(entry.gpus, one_tower_parameters(entry.net) * WIRE_BYTES["float32"])
        speed = f"{format_number(sent / lost / 1e9)} GB/s"
        rows.append([entry.gpu, f"{100 * share:.0f} %", f"{format_number(1e3 * lost)} ms", speed])
    return rows


def _steps(clusters: Sequence[Cluster], network: Network, batch: int) -> Rows:
    rows = [["GPUs", "workers", "batch", *(f"{_title(cluster)}, ms" for cluster in clusters)]]
    for gpus in GPUS:
        steps = [cluster.step(gpus, _joint_batch(gpus, batch), network) for cluster in clusters]
        cells = [
            " + ".join(format_number(1e3 * part) for part in (step.compute, step.crossings, step.all_reduce))
            for step in steps
        ]
        rows.append([str(gpus), str(steps[0].workers), str(steps[0].batch), *cells])
    return rows


def _hours(clusters: Sequence[Cluster], network: Network, batch: int) -> Rows:
    """Of a whole run, from the all-reduce hidden to nothing hidden."""
    last = clusters[-1]
    columns: list[tuple[str, Cluster, Callable[[int], int]]] = [
        (_title(cluster), cluster, lambda gpus: _joint_batch(gpus, batch)) for cluster in clusters
    ]
    compressed = replace(last, wire="bfloat16")
    columns.append((f"{last.gpu}, bfloat16 sent", compressed, lambda gpus: _joint_batch(gpus, batch)))
    columns.append((f"{last.gpu}, batch {batch} in all", last, lambda gpus: batch))
    rows = [["GPUs", "batch", *(title for title, _, _ in columns)]]
    for gpus in GPUS:
        cells = []
        for _, cluster, joint in columns:
            step = cluster.step(gpus, joint(gpus), network)
            ends = [format_number(_hours_at(step.batch / seconds)) for seconds in (step.shortest, step.longest)]
            cells.append("–".join(dict.fromkeys(ends)))
        rows.append([str(gpus), str(_joint_batch(gpus, batch)), *cells])
    return rows


def _hours_at(images_per_second: float) -> float:
    """Of a whole training run."""
    return EPOCHS * TRAINING_IMAGES / images_per_second / 3600


def _input(clusters: Sequence[Cluster], network: Network, batch: int, jpeg_rate: float | None) -> Rows:
    """What a pair of GPUs uses up, and so what each of its two has to be fed with."""
    per_core = jpeg_rate or MEASURED["jpeg"].value / MEASURED_CORES
    rows = [["a GPU of a pair", "images/s", "cores", "JPEG shards", "raw shards"]]
    for cluster in clusters:
        rate = batch / cluster.step(GPUS_PER_WORKER, batch, network).longest / GPUS_PER_WORKER
        disk = [f"{format_number(rate * size / 1e6)} MB/s" for size in (MEASURED["jpeg_bytes"].value, RAW_BYTES)]
        rows.append([cluster.gpu, format_number(rate), format_number(rate / per_core), *disk])
    return rows


def _title(cluster: Cluster) -> str:
    return f"{cluster.gpu}, {cluster.network / GIGABIT:g} Gbit/s"


def _joint_batch(gpus: int, batch: int) -> int:
    return batch * max(1, gpus // GPUS_PER_WORKER)


def _markdown(rows: Rows) -> str:
    header, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *body])


def renewed(document: Path, tables: Mapping[str, str]) -> str:
    """The document's text with every table renewed that it holds between its marks.

    Raises:
      UserError: the document cannot be read, or holds a table that there is not.
    """
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as fault:
        raise UserError(f"--renew {document} cannot be read: {fault.strerror}") from fault

    def table(found: re.Match[str]) -> str:
        if found[2] not in tables:
            raise UserError(f"--renew {document}: no table {found[2]!r}; there are {', '.join(tables)}")
        return f"{found[1]}\n{tables[found[2]]}\n{found[3]}"

    return re.sub(r"(<!-- table ([\w -]+?) -->)\n.*?(<!-- end -->)", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    run_command(main)
