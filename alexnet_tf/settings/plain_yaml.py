"""YAML without its surprises: every value is read as the text that stands there; the field decides what it means.

Plain YAML makes a number of 12:30 (750) and of 010 (8), a Boolean of `on`, a date of 2024-05-01, and takes the last of
two equal keys. Here only an empty value, `null` and `~` mean something by themselves: nothing.
"""

from typing import Any

import yaml

from alexnet_tf.program.errors import UserError

NOTHING = ("", "~", "null", "Null", "NULL")


def load_yaml(text: str, source: str) -> Any:
    """The dictionaries, lists and texts in a YAML text; None where it is empty or holds only comments.

    Raises:
      UserError: it is no valid YAML, or a key stands twice; `source` names it.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except RecursionError:
        raise UserError(f"{source} is no valid YAML: brackets within brackets without end") from None
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise UserError(f"{source} is no valid YAML: {fault.problem}{where}") from fault
    except (yaml.YAMLError, ValueError) as fault:
        raise UserError(f"{source} is no valid YAML: {' '.join(str(fault).split())[:300]}") from fault


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  PyYAML's own way

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As in PyYAML, but without aliases: a few lines of them can stand for more than any memory holds."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="no aliases here", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)


def _text(loader: _PlainLoader, node: yaml.ScalarNode) -> str | None:
    return None if node.style is None and node.value in NOTHING else node.value


def _mapping(loader: _PlainLoader, node: yaml.MappingNode) -> dict:
    found: dict = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(problem="a key must be a text", problem_mark=key_node.start_mark)
        if key in found:
            raise yaml.constructor.ConstructorError(
                problem=f"key {key} stands here a second time", problem_mark=key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_PlainLoader.add_constructor("tag:yaml.org,2002:str", _text)
_PlainLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
