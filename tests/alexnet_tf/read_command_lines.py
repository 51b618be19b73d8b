"""Calls every command's help and its wrong usage in one process, and prints as JSON what there is to be told of them.

python -m tests.alexnet_tf.read_command_lines
"""

import argparse
import contextlib
import importlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

from alexnet_tf.__main__ import commands
from alexnet_tf.program.errors import UserError

LATE = {
    "tensorflow", "keras", "tensorflow_datasets", "tensorflow_serving", "matplotlib", "scipy", "grpc", "httpx",
    "starlette", "uvicorn",
}  # fmt: skip
"""What takes long to load, or is not installed with every user."""


def main() -> None:
    found: dict[str, Any] = {}
    for command in commands():
        module = importlib.import_module(command.module)
        found[command.name] = {
            "parsers": list(parsers(module)),
            "wrong usage": outcome(module, ["--no-such-option"]),
            "loaded": sorted(LATE & set(sys.modules)),
        }
    for name, run in (("train", ["--run=r"]), ("devices", [])):
        module = importlib.import_module(f"alexnet_tf.{name}")
        configs = (["--config=away.yaml"], ["--config=away"], ["--config=paper", "data.bach_size=3"])
        found[name]["faults"] = [outcome(module, [*config, *run]) for config in configs]
        found[name]["loaded"] = sorted(LATE & set(sys.modules))
    print(json.dumps(found))


def parsers(module: Any) -> Iterator[dict[str, Any]]:
    """A command's parser and those of its subcommands, as its help shows them."""
    shown: list[argparse.ArgumentParser] = []
    of_class = argparse.ArgumentParser.print_help
    argparse.ArgumentParser.print_help = lambda self, file=None: shown.append(self)  # type: ignore[method-assign]
    try:
        module.main(["--help"])
    except SystemExit as ended:
        assert ended.code == 0
    finally:
        argparse.ArgumentParser.print_help = of_class  # type: ignore[method-assign]
    [whole] = shown
    yield described(whole)
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from map(described, action.choices.values())


def described(parser: argparse.ArgumentParser) -> dict[str, Any]:
    options = {
        "/".join(action.option_strings) or str(action.metavar or action.dest): action.help
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    }
    return {"prog": parser.prog, "description": parser.description, "options": options, "help": parser.format_help()}


def outcome(module: Any, arguments: list[str]) -> int | str:
    """The exit status, or the fault's line."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return int(module.main(arguments))
        except SystemExit as ended:
            return int(ended.code or 0)
        except UserError as fault:
            return str(fault)


if __name__ == "__main__":
    main()
