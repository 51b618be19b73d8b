"""Configs by their names: from any folder, the user's own files first."""

from pathlib import Path

import pytest

from alexnet_tf import configs
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import load_config
from alexnet_tf.settings.named_configs import find_config, named_configs, purpose

ROOT = Path(__file__).resolve().parents[3]


def test_each_file_has_a_name_and_a_purpose() -> None:
    known = named_configs()
    assert sorted(known.values()) == sorted((ROOT / "configs").glob("*.yaml"))
    assert {"paper", "2012-code", "demo", "lenet5-mnist"} <= set(known)
    for path in known.values():
        assert load_config(path) and purpose(path).count(". ") == 0 and 30 < len(purpose(path)) < 200


def test_the_users_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # as a checkout has one
    assert find_config("demo") == ROOT / "configs/demo.yaml"
    (tmp_path / "paper").write_text("data: {batch_size: 7}")
    assert load_config(find_config("paper")).data.batch_size == 7
    for path in ("demo.yaml", "./demo", "configs/demo"):
        assert find_config(path) == Path(path)
    with pytest.raises(UserError, match="no config of that name: 2012-code"):
        find_config("papre")


def test_a_config_is_printed_to_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    assert configs.main(["paper"]) == 0
    assert capsys.readouterr().out == (ROOT / "configs/alexnet_paper.yaml").read_text()
    assert configs.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(named_configs())
