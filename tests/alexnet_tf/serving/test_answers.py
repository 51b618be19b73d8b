"""Picture files that are named: what is no file, or no picture's size, is told at once."""

import os
import re
import socket
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.serving import answers
from alexnet_tf.serving.answers import read_picture

NO_FILE = "it is a pipe or a device, no file; correct the path, or move that away and restore the file"


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    monkeypatch.setattr(answers, "MAX_FILE_BYTES", 5)
    assert read_picture(tmp_path / "link") == b"12345"
    monkeypatch.setattr(answers, "MAX_FILE_BYTES", 4)
    with pytest.raises(UserError, match=r"^picture \S+file: file larger than 256 MiB$"):
        read_picture(tmp_path / "file")


def test_everything_else_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, told in (
            ("pipe", NO_FILE), ("endless", NO_FILE), (".", "Is a directory"), ("socket", "No such device or address"),
            ("loop", "Too many levels of symbolic links"), ("x", "No such file"),
        ):  # fmt: skip
            with pytest.raises(UserError, match=f"^picture {re.escape(f'{tmp_path / name} cannot be read: {told}')}"):
                read_picture(tmp_path / name)
