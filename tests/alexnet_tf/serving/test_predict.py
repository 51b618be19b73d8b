"""predict on an exported model."""

import csv
import io
import json
import os
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf import predict
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.picture_files import OK
from tests.alexnet_tf.serving.exported_models import Exported, loaded
from tests.alexnet_tf.serving.test_answers import NO_FILE
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.faults.hostile_pictures import many_scans
from tests.picture_zoo.jpeg_files import mpo
from tests.picture_zoo.zoo import ZOO, converter_answer, without_detail
from tfrecords.picture_kinds import HEIF_KINDS
from tfrecords.picture_limits import MUCH_SCANNED


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model again gets the same one."""
    monkeypatch.setattr(tf.saved_model, "load", lambda version: loaded(Path(version)))


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


def test_bad_files_take_no_answer_from_the_good_ones(
    program: Exported, stored_pictures: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in the exported model alone, as a server has it, the hostile file is refused."""
    names = ("first.jpg", "notes.jpg", "hostile.jpg", "missing.jpg", "pipe", "endless", "last.jpg")
    paths = {name: tmp_path / name for name in names}
    paths["first.jpg"].write_bytes(stored_pictures[0])
    paths["notes.jpg"].write_text("no picture")
    paths["hostile.jpg"].write_bytes(many_scans(882))
    os.mkfifo(paths["pipe"])
    paths["endless"].symlink_to("/dev/zero")
    paths["last.jpg"].write_bytes(stored_pictures[1])
    command = ["--model", str(program.models), *map(str, paths.values())]
    assert predict.main([*command, "--json"]) == 1
    told = capsys.readouterr()
    assert list(json.loads(told.out)) == [str(paths["first.jpg"]), str(paths["last.jpg"])]
    assert told.err.splitlines() == [
        f"weights of model {program.models / '1'}: step 1, epoch 5.333, not validated",
        f"error: picture {paths['notes.jpg']}: no JPEG, PNG or GIF file",
        f"error: picture {paths['hostile.jpg']}: {MUCH_SCANNED}",
        f"error: picture {paths['missing.jpg']} cannot be read: No such file or directory; correct the path, or "
        "restore the file",
        f"error: picture {paths['pipe']} cannot be read: {NO_FILE}",
        f"error: picture {paths['endless']} cannot be read: {NO_FILE}",
    ]
    assert predict.main(command) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [str(paths["first.jpg"]), str(paths["last.jpg"])]
    assert predict.main(["--model", str(program.models), str(paths["notes.jpg"])]) == 1
    assert capsys.readouterr().out == ""
    answer = program.signature("serving_default")(image_bytes=tf.constant([many_scans(882), stored_pictures[0]]))
    assert answer["status"].numpy().tolist() == [MUCH_SCANNED.encode(), b"ok"]


def test_predict_converter_and_model_give_the_same_reason(program: Exported, tmp_path: Path, capsys) -> None:
    """Of every kind of refusal in the zoo; and a phone's second picture is none."""
    refused: dict[str, bytes] = {}
    for form, make in ZOO.items():
        for (kind, _), file in make().items() if form != "others" else ():
            reason = converter_answer(file)[1]
            if reason not in (OK, "no picture of a known format") and kind not in HEIF_KINDS:
                refused.setdefault(f"{form} {without_detail(reason)}", file)
    assert len(refused) > 20
    paths = {name: tmp_path / f"{number}.jpg" for number, name in enumerate([*refused, "two pictures"])}
    for name, path in paths.items():
        path.write_bytes(refused.get(name, mpo()))
    assert predict.main(["--model", str(program.models), *map(str, paths.values())]) == 1
    told = capsys.readouterr()
    assert [line for line in told.out.splitlines() if not line.startswith(" ")] == [str(paths["two pictures"])]
    errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
    named = zip(errors, list(paths.values())[:-1], strict=True)
    reasons = [line.removeprefix(f"error: picture {path}: ") for line, path in named]
    assert list(map(without_detail, reasons)) == [name.partition(" ")[2] for name in refused]
    statuses = program.signature("view")(image_bytes=tf.constant(list(refused.values())))["status"].numpy()
    assert [status.decode() for status in statuses] == list(map(without_detail, reasons))


def test_every_kind_that_the_converter_reads_in_folders_and_patterns(
    program: Exported, stored_pictures: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each turned by its EXIF orientation, if it can have one; a file beside them is told alone."""
    stored = Image.open(io.BytesIO(stored_pictures[0])).convert("RGB").crop((0, 0, 240, 180))
    folder = tmp_path / "phone"
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in {
        "a/1.webp": {"lossless": True, "exif": exif}, "a/2.tif": {"exif": exif}, "b/3.png": {"exif": exif},
        "b/4.bmp": {}, "b/5.ppm": {},
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = stored if options else stored.transpose(Image.Transpose.ROTATE_270)
        picture.save(folder / name, **options)
    (folder / "a/6.heic").write_bytes(ZOO["unread"]()["HEIC", "heic"])
    (folder / "Thumbs.db").write_bytes(b"left by a system")
    command = ["--model", str(program.models), "--top=1"]
    assert predict.main([*command, "--csv", str(folder)]) == 1
    told = capsys.readouterr()
    heading, *lines = csv.reader(told.out.splitlines())
    assert heading == ["file", "rank", "label", "name", "probability"]
    assert [Path(line[0]).name for line in lines] == ["1.webp", "2.tif", "3.png", "4.bmp", "5.ppm"]
    assert len({tuple(line[1:4]) for line in lines}) == 1
    assert_close([float(line[4]) for line in lines], [float(lines[0][4])] * 5, WHOLE_NETWORK)
    (error,) = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: picture {folder / 'a/6.heic'}: ")
    assert predict.main([*command, "--json", str(folder / "**/*.b*"), str(folder / "*/3.png")]) == 0
    assert [Path(name).name for name in json.loads(capsys.readouterr().out)] == ["4.bmp", "3.png"]
    (tmp_path / "nothing").mkdir()
    assert predict.main([*command, str(folder / "*.gif"), str(tmp_path / "nothing")]) == 1
    told = capsys.readouterr()
    assert f"error: no file fits {folder / '*.gif'}" in told.err
    assert f"error: folder {tmp_path / 'nothing'} holds no picture" in told.err


def test_predict_names_what_is_wrong(program: Exported, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    with pytest.raises(UserError, match="holds no exported model; make one"):
        predict.main(["--model", str(tmp_path), str(text)])
    run = program.run.path
    with pytest.raises(UserError, match="it is a run: export it") as fault:
        predict.main(["--model", str(run), str(text)])
    assert f"--run {run} --out models/alexnet" in str(fault.value)
