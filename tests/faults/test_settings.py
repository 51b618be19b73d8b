"""Settings as people write them: paths as they stand, numbers as people read them, broken files in one line."""

import importlib
import os
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.text_files import read_text
from alexnet_tf.settings.config import Config, dump_config, load_config, parse_config
from tfrecords.manifest import MANIFEST_FILE, load_manifest
from tfrecords.sources import read_names

PAPER = Path(__file__).resolve().parents[2] / "configs/alexnet_paper.yaml"
DIGITS = "9" * 400
BRACKETS = "[" * 100_000
PATHS = [
    "/data/set #2", "2012", "on", "2024-05-01", "[x]/data", "a: b", "010", "1e3", "'quoted'", "{a}", "- a", "# x", "!x",
    "&a", "*a", "%a", "@a", "`a`", "a ", "ä ö", "true", "12:30", "a=b",
]  # fmt: skip


def one_line(fault: pytest.ExceptionInfo[UserError]) -> str:
    line = str(fault.value)
    assert "\n" not in line and len(line) < 400 and "Error" not in line
    return line


def shortened(override: str) -> str:
    """As a message repeats it."""
    return override if len(override) <= 60 else f"{override[:60]}..."


class TestPaths:
    @pytest.mark.parametrize("path", PATHS)
    def test_override_is_taken_as_it_stands(self, path: str) -> None:
        fields = ("data.dir", "data.statistics", "train.init_from")
        config = parse_config("", "x", [f"{field}={path}" for field in fields])
        assert [str(found) for found in (config.data.dir, config.data.statistics, config.train.init_from)] == [path] * 3
        assert parse_config(dump_config(config), "dumped") == config

    @pytest.mark.parametrize("path", ["2012", "on", "2024-05-01", "010", "1e3", "12:30", "true", "'[x]/data'", "1_0"])
    def test_so_is_that_of_a_file(self, path: str) -> None:
        assert str(parse_config(f"data: {{dir: {path}}}", "x").data.dir) == path.strip("'")

    def test_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        for text, overrides in (
            ("", ["data.dir=~/x", "data.statistics=~/s"]),
            ("data: {dir: ~/x, statistics: ~/s}", []),
        ):
            data = parse_config(text, "x", overrides).data
            assert (str(data.dir), str(data.statistics)) == ("/home/somebody/x", "/home/somebody/s")
        assert str(parse_config("", "x", ["data.dir=~"]).data.dir) == "/home/somebody"

    def test_no_utf_8(self, tmp_path: Path) -> None:
        path = os.fsdecode(bytes(tmp_path) + b"/x\xff")
        for field in ("data.dir", "data.statistics", "train.init_from"):
            with pytest.raises(UserError) as fault:
                parse_config("", "x", [f"{field}={path}"])
            line = one_line(fault)
            assert (
                line.replace("'", "").startswith(f"x with {field}=/")
                and f": {field}: the path is no UTF-8 text" in line
            )
            assert line.isprintable()
        for module, arguments in (
            ("train", ["--config", str(PAPER), "--run", path]), ("export", ["--run", "r", "--out", path]),
            ("tfrecords.convert", ["folder", "--train=t", "--val=v", f"--out={path}"]),
        ):  # fmt: skip
            with pytest.raises(UserError, match=r"^--\w+ .*x\\udcff is no UTF-8 text; choose"):
                importlib.import_module(module).main(arguments)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("nothing", ["", "null", "~"])
    def test_nothing(self, nothing: str) -> None:
        config = parse_config("data: {statistics: s}", "x", [f"data.statistics={nothing}", f"augment.noise={nothing}"])
        assert config == Config()
        with pytest.raises(UserError, match=r"data\.dir: "):
            parse_config("", "x", ["data.dir="])


class TestNumbers:
    @pytest.mark.parametrize("value", ["010", " 10", "+10", "10.0", "1e1"])
    def test_are_read_as_people_read_them(self, value: str) -> None:
        text = f"train: {{seed: {value}, drop_epochs: [{value}], layer_drops: {{conv1: {{7: {value}}}}}}}"
        overrides = [
            f"train.seed={value}", f"train.drop_epochs=[{value}]", f"train.layer_drops={{conv1: {{7: {value}}}}}"
        ]  # fmt: skip
        for train in (parse_config(text, "x").train, parse_config("", "x", overrides).train):
            assert (train.seed, train.drop_epochs, train.layer_drops) == (10, (10,), {"conv1": {7: 10}})

    @pytest.mark.parametrize(
        "value",
        ["12:30", "2024-05-01", "0x10", "0b1", "ten", "1.5", "nan", ".inf", "1e400", DIGITS, "-" + DIGITS, "[1]"],
    )
    @pytest.mark.parametrize("field", ["epochs", "seed", "batch_size"])
    def test_what_is_none_is_refused_by_its_field(self, field: str, value: str) -> None:
        section = "data" if field == "batch_size" else "train"
        for text, overrides in ((f"{section}: {{{field}: {value}}}", []), ("", [f"{section}.{field}={value}"])):
            with pytest.raises(UserError) as fault:
                parse_config(text, "x", overrides)
            line = one_line(fault)
            source = "x with " + shortened(overrides[0]) if overrides else "x"
            assert line.startswith(f"{source}: {section}.{field}: ")

    @pytest.mark.parametrize(
        "override",
        [
            "train.learning_rate=1e300", "train.weight_decay=1e300", "train.bias_rate_factor=1e300",
            "train.rate_multipliers={conv1: 1e300}", "train.layer_drops={conv1: {1: 1e300}}",
            "augment.noise_stddev=1e300", "augment.noise_divisor=1e-300", "distribute.timeout=1e300",
            "distribute.stall_timeout=1e300",
        ],
    )  # fmt: skip
    def test_beyond_what_the_network_or_the_clock_takes(self, override: str) -> None:
        with pytest.raises(UserError) as fault:
            parse_config("", "x", [override])
        line = one_line(fault)
        assert line.startswith(f"x with {override}: {override.partition('=')[0]}") and "Input should be" in line

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("train.drop_epochs=[-1]", "greater than or equal to 1"),
            ("train.drop_epochs=[3, 0]", "greater than or equal to 1"),
            ("train.drop_epochs=[3, 2]", "ascending order"), ("train.drop_epochs=[2, 2]", "2 is listed twice"),
            ("train.layer_drops={conv1: {-1: 0.1}}", "greater than or equal to 1"),
            ("train.layer_drops={conv1: {0: 0.1}}", "greater than or equal to 1"),
            ("train.layer_drops={conv1: {2: -1}}", "greater than or equal to 0"),
            ("train.layer_drops={conv1: {2: nan}}", "a finite number"),
            ("train.layer_drops={conv1: {7: 0.1, 07: 0.2}}", "7 is listed twice"),
            ("train.rate_multipliers={conv1: -1}", "greater than or equal to 0"),
            ("train.freeze=[conv1, conv1]", "conv1 is listed twice"),
            ("train.freeze=[fc8, fc7, fc6, conv5, conv4, conv3, conv2, conv1]", "nothing would be trained"),
            ("train.momentum=0", "greater than or equal to"), ("train.momentum=0.99999999999", "less than or equal to"),
            ("train.drop_factor=0", "greater than or equal to"), ("train.drop_factor=-0.1", "greater than or equal to"),
            ("train.max_drops=-1", "greater than or equal to 0"), ("train.patience=0", "greater than or equal to 1"),
            ("train.log_every=0", "greater than or equal to 1"), ("train.learning_rate=-1", "greater than or equal to"),
            ("data.batch_size=0", "greater than or equal to 1"), ("data.batch_size=2000000", "less than or equal to"),
            ("data.eval_batch_size=2000000", "less than or equal to"), ("devices.threads=-1", "greater than or equal"),
            ("devices.threads=1000000", "less than or equal to"), ("augment.noise_divisor=0", "greater than or equal"),
            ("augment.noise_divisor=1e300", "less than or equal to"), ("augment.max_offset=-1", "greater than or"),
            ("distribute.warmup_epochs=-1", "greater than or equal to"), ("distribute.warmup_epochs=nan", "a finite"),
            ("distribute.base_batch_size=0", "greater than or equal"), ("distribute.index=-1", "greater than or equal"),
            ("distribute.timeout=nan", "a finite number"), ("distribute.watch_port=0", "greater than or equal to 1"),
        ],
    )  # fmt: skip
    def test_out_of_its_range(self, override: str, told: str) -> None:
        with pytest.raises(UserError) as fault:
            parse_config("", "x", [override])
        line = one_line(fault)
        assert line.startswith(f"x with {shortened(override)}: {override.partition('=')[0]}")
        assert told in line and "Value" not in line

    @pytest.mark.parametrize("truth", ["true", "False"])
    @pytest.mark.parametrize(
        "override",
        [
            "train.epochs={}", "train.learning_rate={}", "train.drop_epochs=[{}]",
            "train.rate_multipliers={{conv1: {}}}", "train.layer_drops={{conv1: {{7: {}}}}}", "distribute.timeout={}",
        ],
    )  # fmt: skip
    def test_a_truth_is_no_number(self, override: str, truth: str) -> None:
        for text in ("", "train: {cache_features: false}"):
            with pytest.raises(UserError) as fault:
                parse_config(text, "x", [override.format(truth)])
            line = one_line(fault)
            given, field = override.format(truth), override.partition("=")[0]
            assert line.startswith(f"x with {given}: {field}: true and false are no numbers"), line

    def test_no_folder_where_one_must_be(self) -> None:
        with pytest.raises(UserError) as fault:
            parse_config("", "x", ["data.dir="])
        assert one_line(fault) == "x with data.dir=: data.dir: a path is missing, got None"

    @pytest.mark.parametrize(("value", "meant"), [("on", True), ("yes", True), ("False", False), ("0", False)])
    def test_truths(self, value: str, meant: bool) -> None:
        assert parse_config("", "x", [f"train.drop_bias_rate={value}"]).train.drop_bias_rate is meant
        assert parse_config(f"train: {{drop_bias_rate: {value}}}", "x").train.drop_bias_rate is meant


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("train: {seed: 1, seed: 2}", "key seed stands here a second time (line 1, column 18)"),
            ("train: {seed: 1}\ndata:\ntrain: {epochs: 2}", "key train stands here a second time (line 3, column 1)"),
            (BRACKETS, "brackets within brackets"),
            ("data: " + "{a: " * 20_000, "brackets within brackets"),
            ("train: &a {seed: 1}\ndata: *a", "no aliases"),
            ("train: {seed: !!int x}", "is no valid YAML"),
            ("train: \x00", "is no valid YAML"),
        ],
    )
    def test_config(self, tmp_path: Path, text: str, told: str) -> None:
        path = tmp_path / "own.yaml"
        path.write_text(text)
        with pytest.raises(UserError) as fault:
            load_config(path)
        line = one_line(fault)
        assert told in line and str(path) in line

    @pytest.mark.parametrize("content", [b"train: {seed: \xff}", "train: {seed: 1}".encode("utf-16")])
    def test_what_is_not_utf_8(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        for read in (load_config, read_names, read_text):
            with pytest.raises(UserError, match="is no UTF-8 text") as fault:
                read(path)
            assert str(path) in one_line(fault)

    def test_mark_before_the_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_bytes("train: {seed: 7}".encode("utf-8-sig"))
        assert load_config(tmp_path / "a.yaml").train.seed == 7

    @pytest.mark.parametrize(
        "content",
        [b"\xff\xfe", BRACKETS.encode(), b"", b"[1, 2", b'{"size": ' + DIGITS.encode() + b"}", b"null", b'"\\ud800"'],
    )
    def test_manifest(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / MANIFEST_FILE).write_bytes(content)
        with pytest.raises(UserError) as fault:
            load_manifest(tmp_path)
        assert str(tmp_path / MANIFEST_FILE) in one_line(fault)

    def test_manifest_with_huge_counts(self, tiny_data: Path, tmp_path: Path) -> None:
        text = (tiny_data / MANIFEST_FILE).read_text().replace('"records": 6', f'"records": {DIGITS}')
        (tmp_path / MANIFEST_FILE).write_text(text)
        with pytest.raises(UserError, match="is broken") as fault:
            load_manifest(tmp_path)
        assert str(tmp_path / MANIFEST_FILE) in one_line(fault)


class TestPatterns:
    """TensorFlow writes to such paths, and takes them for patterns when it reads."""

    @pytest.mark.parametrize("name", ["a[1]", "b]", "c\\d", "e*", "g?"])
    def test_are_refused_with_their_parents(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / name).mkdir()
        for path in (tmp_path / name, tmp_path / name / "run", tmp_path / "x" / ".." / name):
            with pytest.raises(UserError, match="--run") as fault:
                refuse_pattern("--run", path)
            assert name in one_line(fault)
        monkeypatch.chdir(tmp_path / name)
        with pytest.raises(UserError):
            refuse_pattern("--run", Path("run"))
        (tmp_path / "link").symlink_to(tmp_path / name)
        refuse_pattern("--run", tmp_path / "link")

    def test_others_are_not(self) -> None:
        for path in ("a b", "ä", "{x}", "'#%", "(1)", "a,b;c", "~", "$HOME"):
            refuse_pattern("--run", Path(path))

    @pytest.mark.parametrize(
        ("module", "arguments", "option"),
        [
            ("train", ["--config", "configs/alexnet_paper.yaml", "--run", "{}"], "--run"),
            (
                "train",
                ["--config", "configs/alexnet_paper.yaml", "--run", "r", "train.init_from={}"],
                "train.init_from",
            ),
            ("export", ["--run", "r", "--out", "{}"], "--out"),
            ("export", ["--run", "{}", "--out", "o"], "--run"),
            ("alexnet_tf.evaluate", ["--run", "{}"], "--run"),
            ("alexnet_tf.evaluate", ["--model", "{}", "--data", "d"], "--model"),
            ("alexnet_tf.predict", ["--model", "{}", "x.jpg"], "--model"),
            ("alexnet_tf.serve", ["--model", "{}"], "--model"),
            ("alexnet_tf.export_weights", ["--run", "{}", "--caffemodel", "c"], "--run"),
            ("alexnet_tf.import_weights", ["--torch", "t", "--run", "{}"], "--run"),
        ],
    )
    def test_every_command_refuses_them_before_any_work(
        self, tmp_path: Path, module: str, arguments: list[str], option: str
    ) -> None:
        path = tmp_path / "run[1]"
        with pytest.raises(UserError) as fault:
            importlib.import_module(module).main([argument.replace("{}", str(path)) for argument in arguments])
        assert one_line(fault).startswith(f"{option} {path} holds [: ")
        assert not path.exists()
