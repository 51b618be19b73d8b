"""A network's settings as plain data, for a file that has to build the same network again."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import NetworkSettings


def plain_settings(settings: NetworkSettings) -> dict[str, Any]:
    """Every field of a network's settings, its widths included, as JSON has it."""
    plain: dict[str, Any] = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    return plain


def settings_from(plain: Any) -> NetworkSettings:
    """What `plain_settings` was given.

    Raises:
      UserError: no preset here has such a network, or its fields are others.
    """
    name = plain.get("network_class") if isinstance(plain, dict) else None
    # Only what a preset here names is ever imported, whatever a file says.
    types = [type(preset.network) for preset in PRESETS.values() if preset.network.network_class == name]
    if not types:
        raise UserError(f"a network {name!r} is unknown here; was the file written by another version?")
    try:
        return TypeAdapter(types[0]).validate_python(plain)
    except ValidationError as fault:
        field = ".".join(map(str, fault.errors()[0]["loc"]))
        raise UserError(
            f"the settings of network {name!r} have another {field} than this version knows; was the file written by "
            "another version?"
        ) from fault
