"""Files that are read whole: what is no regular file is told at once."""

import os
import socket
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.regular_files import read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", "picture", 5) == b"12345"
    with pytest.raises(UserError, match=r"picture \S+file has more than 4 bytes; is it a picture at all\?"):
        read_regular(tmp_path / "file", "picture", 4)


def test_everything_else_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, told in (
            ("pipe", "is a named pipe, no regular file"), ("endless", "is a device, no regular file"),
            (".", "is a folder, no regular file"), ("socket", "cannot be read: No such device or address"),
            ("loop", "cannot be read: Too many levels of symbolic links"), ("x", "cannot be read: No such file"),
        ):  # fmt: skip
            with pytest.raises(UserError, match=rf"^picture {tmp_path / name} {told}"):
                read_regular(tmp_path / name, "picture", 5)
