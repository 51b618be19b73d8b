"""Asks a model server about picture files, in requests of a limited size. No TensorFlow here."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.given_pictures import picture_paths, picture_to_send
from alexnet_tf.serving.transport import Transport


def ask(
    transport: Transport, paths: Iterable[Path], count: int, max_bytes: int, report: Callable[[str], None]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the server names: for each picture its path, and label, name and probability of the most probable classes.

    Args:
      transport: to the server.
      paths: picture files, folders and patterns.
      count: pictures in a request at most.
      max_bytes: of a request on the wire at most.
      report: gets a line for each picture that cannot be read, sent or answered.

    Raises:
      UserError: the server cannot be reached, or refuses a request.
    """
    files = _readable(picture_paths(paths, report), max_bytes, transport, report)
    for batch in batches(files, count, max_bytes, transport):
        for (path, _), answer in zip(batch, transport.predict([file for _, file in batch]), strict=True):
            if answer.status != "ok":
                report(f"picture {path}: {answer.status}")
                continue
            named = zip(answer.labels, answer.classes, answer.scores, strict=True)
            yield path, [{"label": label, "name": name, "probability": round(score, 6)} for label, name, score in named]


def _readable(
    paths: Iterable[Path], max_bytes: int, transport: Transport, report: Callable[[str], None]
) -> Iterator[tuple[str, bytes]]:
    """The picture files that can be read and sent, each with its path."""
    for path in paths:
        try:
            file = picture_to_send(path)
        except UserError as fault:
            report(str(fault))
            continue
        own = transport.wire_size(file)
        if own + transport.overhead <= max_bytes:
            yield str(path), file
        else:
            report(f"picture {path} takes {own} bytes, --max-message allows {max_bytes}; raise it or shrink it")


def batches(
    files: Iterable[tuple[str, bytes]], count: int, max_bytes: int, transport: Transport
) -> Iterator[list[tuple[str, bytes]]]:
    """Cuts the pictures, each with its path, into requests of at most `count` pictures and `max_bytes` on the wire."""
    batch: list[tuple[str, bytes]] = []
    size = transport.overhead
    for path, file in files:
        own = transport.wire_size(file)
        if batch and (len(batch) == count or size + own > max_bytes):
            yield batch
            batch, size = [], transport.overhead
        batch.append((path, file))
        size += own
    if batch:
        yield batch
