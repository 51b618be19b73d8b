"""predict on an exported model."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from alexnet_tf import predict
from alexnet_tf.program.errors import UserError
from tests.alexnet_tf.serving.conftest import Exported
from tests.closeness import WHOLE_NETWORK, assert_close


def test_predict_names_pictures(program: Exported, stored_pictures: list[bytes], tmp_path: Path, capsys) -> None:
    picture = tmp_path / "some picture.jpg"
    picture.write_bytes(stored_pictures[0])
    assert predict.main(["--model", str(program.models), "--json", "--top", "2", str(picture)]) == 0
    (top,) = json.loads(capsys.readouterr().out).values()
    expected = program.signature("serving_default")(image_bytes=tf.constant(stored_pictures[:1]))
    assert [answer["label"] for answer in top] == [label.decode() for label in expected["labels"].numpy()[0, :2]]
    assert_close([answer["probability"] for answer in top], expected["scores"].numpy()[0, :2], WHOLE_NETWORK)
    assert set(top[0]) == {"label", "name", "probability"}
    assert predict.main(["--model", str(program.models / "1"), str(picture)]) == 0
    assert top[0]["name"] in capsys.readouterr().out.splitlines()[1]


def test_predict_names_what_is_wrong(program: Exported, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    with pytest.raises(UserError, match=r"notes\.jpg: no JPEG, PNG or GIF file"):
        predict.main(["--model", str(program.models), str(text)])
    with pytest.raises(UserError, match=r"missing\.jpg cannot be read"):
        predict.main(["--model", str(program.models), str(tmp_path / "missing.jpg")])
    with pytest.raises(UserError, match="holds no exported model"):
        predict.main(["--model", str(tmp_path), str(text)])
