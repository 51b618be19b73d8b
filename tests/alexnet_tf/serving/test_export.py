"""A version's folder: what TensorFlow Serving finds in it, and in which processes and engines it loads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import export
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.examples import LARGEST, Example, read_examples, write_examples
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.picture_files import MAX_PIXELS
from alexnet_tf.serving.versions import EXAMPLES, MOST_EXAMPLES, new_version, newest_version, versions
from alexnet_tf.serving.warm_up import BATCH_SIZES, read_warm_up
from tests.alexnet_tf.serving.exported_models import CLASSES, LICENSE, Exported
from tests.alexnet_tf.serving.made_exports import write_export
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import shrink_net

SIGNATURES = {
    "serving_default", "probabilities", "ten_view", "features", "view", "feature_maps", "grad_cam", "images",
    "float_images", "classify", "network"
}  # fmt: skip


@pytest.fixture
def models(program: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder with versions 1, 2 and 10, which hold no graph; export.py makes small nets."""
    shrink_net(monkeypatch)
    for version in (1, 2, 10):
        write_export(tmp_path / "alexnet" / str(version))
    return tmp_path / "alexnet"


def export_to(models: Path, program: Exported, *options: str) -> None:
    assert export.main(["--run", str(program.run.path), "--out", str(models), *options]) == 0


def proto_of(program: Exported) -> saved_model_pb2.SavedModel:
    return saved_model_pb2.SavedModel.FromString((program.models / "1" / "saved_model.pb").read_bytes())


@pytest.mark.slow  # TensorFlow's own tool, below, knows no more of this program
def test_loads_where_only_tensorflow_is_known(program: Exported, stored_pictures: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(stored_pictures[0])
    code = """
import sys, json, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = served(image_bytes=tf.constant([open(sys.argv[2], "rb").read()] * 3))
assert not any(name.split(".")[0] in ("alexnet_tf", "tfrecords") for name in sys.modules)
print(json.dumps({key: value.numpy()[2].tolist() if value.dtype != tf.string else
                  [text.decode() for text in value.numpy()[2].ravel().tolist()] for key, value in
                  answer.items() if key != "status"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(program.models / "1"), str(tmp_path / "picture.jpg")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    expected = program.signature("serving_default")(image_bytes=tf.constant(stored_pictures[:1]))
    assert answer["labels"] == [label.decode() for label in expected["labels"].numpy()[0]]
    assert_close(answer["scores"], expected["scores"][0], WHOLE_NETWORK)


def test_saved_model_cli_shows_and_runs_it(program: Exported, stored_pictures: list[bytes], tmp_path: Path) -> None:
    version = str(program.models / "1")
    np.save(tmp_path / "files.npy", np.array(stored_pictures[:2]))
    calls = [
        ["show", "--dir", version, "--all"],
        ["run", "--dir", version, "--tag_set", "serve", "--signature_def", "probabilities",
         "--inputs", f"image_bytes={tmp_path / 'files.npy'}", "--outdir", str(tmp_path)],
    ]  # fmt: skip
    code = f"""
import sys
from tensorflow.python.tools.saved_model_cli import main
for call in {calls}:
    sys.argv[1:] = call
    try:
        main()
    except SystemExit as ended:  # as it always ends
        assert not ended.code
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in SIGNATURES:
        assert f"signature_def['{name}']" in shown.stdout
    found = np.load(tmp_path / "probabilities.npy")
    expected = program.signature("probabilities")(image_bytes=tf.constant(stored_pictures[:2]))["probabilities"]
    assert_close(found, expected, WHOLE_NETWORK)


def test_graph_has_no_device_and_no_python(program: Exported) -> None:
    graphs = [meta.graph_def for meta in proto_of(program).meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    assert len(nodes) > 100 and not [node.name for node in nodes if node.device]
    assert not [node.name for node in nodes if "PyFunc" in node.op or "Python" in node.op]


def test_classify_has_its_own_method(program: Exported) -> None:
    (meta,) = proto_of(program).meta_graphs
    methods = {name: signature.method_name for name, signature in meta.signature_def.items()}
    methods.pop("__saved_model_init_op")
    assert set(methods) == SIGNATURES
    assert methods.pop("classify") == "tensorflow/serving/classify"
    assert set(methods.values()) == {"tensorflow/serving/predict"}


def test_names_and_origin_travel_along(program: Exported) -> None:
    assets = program.models / "1" / "assets.extra"
    classes = json.loads((assets / "classes.json").read_text("utf-8"))
    assert classes["keys"][1] == "n00000001" and classes["names"][6] == "class 6, größer"
    model = json.loads((assets / "model.json").read_text("utf-8"))
    (net,) = model["nets"]
    assert (net["preset"], model["classes"], net["checkpoint_step"]) == ("2012-code", CLASSES, 1)
    assert model["license"] == LICENSE and model["limits"]["max_pixels"] == MAX_PIXELS
    assert net["validation"] is None  # it was never validated
    card = (assets / "model_card.md").read_text("utf-8")
    assert f"classifier of {CLASSES} classes" in card and "class 6, größer" in card and LICENSE in card
    assert "Not measured with these weights" in card and "24 training pictures" in card


def test_warm_up_requests_can_be_replayed(program: Exported) -> None:
    """One of each form; a server that loads the model replays all of them, as in test_batching.py."""
    signatures, seen = [], set()
    for log in read_warm_up(program.models / "1"):
        if log.HasField("classify_log"):
            request = log.classify_log.request
            inputs = tf.constant([example.SerializeToString() for example in request.input.example_list.examples])
            answer = program.signature("classify")(inputs=inputs)
            assert answer["scores"].numpy()[:, 0].min() > 0
            examples = request.input.example_list.examples
            assert {file for one in examples for file in one.features.feature["image"].bytes_list.value} == seen
        else:
            request = log.predict_log.request
            files = tf.make_ndarray(request.inputs["image_bytes"])
            if request.model_spec.signature_name == "serving_default":
                answer = program.signature("serving_default")(image_bytes=tf.constant(files))
                assert answer["status"].numpy().tolist() == [b"ok"] * len(files)
            seen |= set(files.tolist())  # one picture, for which all signatures have the same words
        assert request.model_spec.name == "alexnet"
        signatures.append(request.model_spec.signature_name)
    assert signatures.count("serving_default") == len(BATCH_SIZES)
    assert set(signatures) == SIGNATURES - {"feature_maps", "grad_cam", "images", "float_images", "network"}
    assert (program.models / "1" / "assets.extra" / "tf_serving_warmup_requests").stat().st_size < 5e6


def test_command_exports_the_next_version_and_keeps_some(program: Exported, models: Path, capsys) -> None:
    metrics = program.run.path / "metrics.jsonl"
    lines = [
        {"kind": "validation", "step": step, "epoch": step, "loss": 1, "top1_error": step / 10, "top5_error": 0,
         "images": 50}
        for step in (1, 2)
    ]  # fmt: skip
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        export_to(models, program, "--keep", "2")
    finally:
        metrics.unlink()
    assert capsys.readouterr().out.strip() == str(newest_version(models)) == str(models / "11")
    assert versions(models) == [2, 10, 11] and (models / "2" / "saved_model.pb").read_text() == "graph"
    model = json.loads((models / "11" / "assets.extra" / "model.json").read_text())
    assert model["nets"][0]["validation"] == {"top1_error": 0.1, "top5_error": 0}  # of the checkpoint's own step
    assert model["license"].startswith("not stated")
    card = (models / "11" / "assets.extra" / "model_card.md").read_text("utf-8")
    assert "| val | 1 | 50 | 10.00% (4.35% to 21.36%) | 0.00% (0.00% to 7.13%) | training |" in card


def test_examples_of_other_data_are_refused(models: Path, program: Exported) -> None:
    """The run of these tests knows seven classes, its data have three."""
    with pytest.raises(UserError, match=r"knows 7 classes, .*; they have changed: leave out --examples"):
        export_to(models, program, "--examples", "2")
    with pytest.raises(UserError, match=r"--examples is for a server's page; leave it out with --format onnx"):
        export_to(models, program, "--examples", "2", "--format", "onnx")
    assert versions(models) == [1, 2, 10]


def test_odd_files_among_the_examples_are_left_out(tmp_path: Path) -> None:
    examples = [Example(bytes([number]), "png", 2 * number) for number in range(MOST_EXAMPLES)]
    write_examples(tmp_path, examples)
    folder = tmp_path / EXAMPLES
    for name in ("notes.txt", "x-1.jpg", "1-1.gif", "20-1.png.old"):
        (folder / name).write_bytes(b"odd")
    os.mkfifo(folder / "30-1.png")
    with (folder / "31-1.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    (folder / "0-0.png").unlink()
    assert read_examples(tmp_path) == examples[1:]
    assert read_examples(tmp_path / "elsewhere") == []


def test_failed_export_leaves_nothing(models: Path, program: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", disk_full)  # the last file of all
    with pytest.raises(UserError, match=r"/11 cannot be written: No space left on device"):
        export_to(models, program)
    assert sorted(path.name for path in models.iterdir()) == [".lock", "1", "10", "2"]


def test_existing_version_stays(models: Path, program: Exported) -> None:
    with pytest.raises(UserError, match=r"/2 exists and stays"):
        export_to(models, program, "--version", "2")
    assert (models / "2" / "saved_model.pb").read_text() == "graph"


def test_leftovers_of_a_killed_export_are_removed(models: Path) -> None:
    (models / ".unfinished-11").mkdir()
    (models / ".unfinished-11" / "saved_model.pb").touch()
    with new_version(models, None) as (folder, finished):
        assert not folder.exists() and not finished.exists()
        folder.mkdir()
    assert finished == models / "11" and not list(finished.iterdir())


def test_two_exports_do_not_meet(models: Path) -> None:
    with new_version(models, None) as (folder, _):
        folder.mkdir()
        with pytest.raises(UserError, match="written by another export; wait"):
            new_version(models, 20).__enter__()
    assert versions(models) == [1, 2, 10, 11]


def test_an_older_number_with_keep_stays_and_is_told(models: Path, program: Exported, capsys) -> None:
    shutil.copytree(program.models / "1", models / "3")  # a real one, to be recognized
    (models / "7").mkdir()
    export_to(models, program, "--version", "4", "--keep", "0")
    told = capsys.readouterr()
    assert told.out.strip() == str(models / "4") and versions(models) == [4, 7, 10]
    assert told.err.splitlines() == [
        f"weights of run {program.run.path}: step 1, epoch 5.333, not validated",
        f"left alone and not counted, for alexnet-tf export did not make it as it stands: 7 in {models}",
        f"a server loads version 10 of {models}, the highest number there, and not 4",
    ]
    assert ExportedModel(models / "4").classes.keys == program.run.classes.keys


def test_what_is_wrong_with_a_version_is_told(program: Exported, tmp_path: Path) -> None:
    """What is missing is called missing, and only what is there and cannot be read is called damaged."""
    whole = program.models / "1"
    for missing in ("variables/variables.index", "variables/variables.data-00000-of-00001"):
        version = tmp_path / missing.rpartition(".")[2] / "1"
        shutil.copytree(whole, version)
        (version / missing).unlink()
        with pytest.raises(UserError, match=rf"{missing} is missing from {version}; copy the whole folder again"):
            ExportedModel(version.parent)
    shutil.rmtree(version / "variables")
    shutil.copytree(whole / "variables", version / "variables")
    (version / "saved_model.pb").write_bytes((version / "saved_model.pb").read_bytes()[:5000])
    with pytest.raises(UserError, match=rf"{version} cannot be loaded: its files are damaged") as fault:
        ExportedModel(version)
    assert "Error" not in str(fault.value)


@pytest.mark.slow
def test_cpp_loader_of_tensorflow_serving_runs_it(
    program: Exported, stored_pictures: list[bytes], tmp_path: Path
) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("NO C++ COMPILER: the C++ loader that TensorFlow Serving uses is not tried")
    root = Path(tf.sysconfig.get_lib())
    command = [compiler, "-w", str(Path(__file__).with_name("load_saved_model.cc")), "-o", str(tmp_path / "load"),
               *tf.sysconfig.get_compile_flags(), f"-I{root}/include/external/local_xla", f"-L{root}",
               "-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2",
               f"-Wl,-rpath,{root}"]  # fmt: skip
    subprocess.run(command, check=True)
    files = [*stored_pictures[:2], b"no picture", stored_pictures[2]]
    paths = []
    for number, file in enumerate(files):
        paths.append(str(tmp_path / str(number)))
        Path(paths[-1]).write_bytes(file)
    for signature, output in [("serving_default", "scores"), ("ten_view", "probabilities"), ("features", "features")]:
        arguments = [str(program.models / "1"), signature, "image_bytes", output, *paths]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run([str(tmp_path / "load"), *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        expected = program.signature(signature)(image_bytes=tf.constant(files))
        for line, status, numbers in zip(
            done.stdout.splitlines(), expected["status"].numpy(), expected[output].numpy(), strict=True
        ):
            _, told, found = line.split('"')
            assert told == status.decode()
            assert_close(np.array(found.split(), float), numbers, WHOLE_NETWORK)
