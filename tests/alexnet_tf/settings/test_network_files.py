"""A network's settings as plain data: they come back the same, and a file names no class that is not a preset's."""

import json

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.network_files import plain_settings, settings_from
from alexnet_tf.settings.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_come_back_the_same(preset: str) -> None:
    settings = PRESETS[preset].network
    assert settings_from(json.loads(json.dumps(plain_settings(settings)))) == settings


def test_other_settings_are_refused() -> None:
    plain = plain_settings(PRESETS["paper"].network)
    for strange in ({**plain, "network_class": "os:system"}, {}, None, [1]):
        with pytest.raises(UserError, match="is unknown here; was the file written by another version"):
            settings_from(strange)
    with pytest.raises(UserError, match=r"have another widths\.fc6 than this version knows"):
        settings_from({**plain, "widths": {**plain["widths"], "fc6": "many"}})
