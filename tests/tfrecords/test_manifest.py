"""Reading a manifest back, and the check of the files before they are used."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from tfrecords.manifest import check_shards, load_manifest, shard_paths, write_manifest


def test_lists_what_is_there(data: Path) -> None:
    manifest = load_manifest(data)
    assert manifest.class_keys == ["ant", "bee", "cat"]
    assert manifest.class_names == ["ant, emmet", "bee", "house cat"]
    assert manifest.num_classes == 3
    assert manifest.splits["train"].class_counts == [14, 14, 14]
    assert manifest.splits["val"].class_counts == [5, 5, 5]
    for split in manifest.splits:
        for shard, path in zip(manifest.splits[split].shards, shard_paths(data, manifest, split), strict=True):
            content = path.read_bytes()
            assert shard.bytes == len(content)
            assert shard.sha256 == hashlib.sha256(content).hexdigest()
        check_shards(data, manifest, split)


def test_write_and_load(tmp_path: Path, data: Path) -> None:
    manifest = load_manifest(data)
    write_manifest(tmp_path, manifest)
    assert load_manifest(tmp_path) == manifest


def test_faults_name_the_file(data: Path) -> None:
    path = data / "manifest.json"
    content = json.loads(path.read_text())

    def refused(text: str) -> str:
        path.write_text(text)
        with pytest.raises(UserError) as fault:
            load_manifest(data)
        assert "manifest.json" in str(fault.value)
        assert "\n" not in str(fault.value)
        return str(fault.value)

    refused("{ not json")
    assert "encoding" in refused(json.dumps(content | {"encoding": "webp"}))
    assert "format 2" in refused(json.dumps(content | {"format": 2}))
    assert "differ in length" in refused(json.dumps(content | {"class_keys": ["ant"]}))
    content["splits"]["train"]["records"] += 1
    assert "add up" in refused(json.dumps(content))
    path.unlink()
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        load_manifest(data)
    shutil.rmtree(data)
    with pytest.raises(UserError, match="no data folder"):
        load_manifest(data)


def test_shard_outside_the_folder_is_refused(data: Path) -> None:
    content = json.loads((data / "manifest.json").read_text())
    content["splits"]["train"]["shards"][0]["file"] = "../secret"
    (data / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"shards\.0\.file"):
        load_manifest(data)


def test_missing_cut_and_changed_shards(data: Path) -> None:
    manifest = load_manifest(data)
    shard = data / "train-00001-of-00003"
    whole = shard.read_bytes()
    changed = bytearray(whole)
    changed[100] ^= 1
    shard.write_bytes(changed)
    with pytest.raises(UserError, match="train-00001-of-00003 was changed"):
        check_shards(data, manifest, "train")
    check_shards(data, manifest, "train", hash_below=0)  # size only
    check_shards(data, manifest, "val")
    shard.write_bytes(whole[:-10])
    with pytest.raises(UserError, match="train-00001-of-00003 was cut"):
        check_shards(data, manifest, "train", hash_below=0)
    shard.unlink()
    with pytest.raises(UserError, match="train-00001-of-00003 is missing"):
        check_shards(data, manifest, "train", hash_below=0)
    with pytest.raises(UserError, match="no split 'test'"):
        check_shards(data, manifest, "test")
