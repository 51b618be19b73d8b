"""The local server's batches in one process: refused pictures, fair turns, memory, and the thread's end."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.local_server.batching import Batcher
from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.screening import SMALL, first_look, run_screened
from alexnet_tf.local_server.served_model import Arrays, LoadedVersion
from tests.alexnet_tf.serving.exported_models import Exported
from tests.alexnet_tf.serving.pictures import encoded, smooth
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.faults.hostile_pictures import noisy_png
from tfrecords.picture_limits import MAX_PIXELS, MUCH_PNG_DATA, SPARE_PNG_DATA

LARGEST = 10**9


class Counted:
    """A loaded version that notes what it runs, and waits for `go`."""

    def __init__(self, version: LoadedVersion) -> None:
        self.version = version
        self.signatures = version.signatures
        self.refused_rows = version.refused_rows
        self.calls: list[tuple[str, int]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        self.calls.append((signature, len(next(iter(inputs.values())))))
        self.begun.set()
        assert self.go.wait(30)
        return self.version.run(signature, inputs)

    def rows(self) -> Counter:
        found: Counter = Counter()
        for signature, count in self.calls:
            found[signature] += count
        return found


@pytest.fixture(scope="module")
def loaded(program: Exported) -> LoadedVersion:
    return LoadedVersion(program.models / "1")


@pytest.fixture
def version(loaded: LoadedVersion) -> Counted:
    return Counted(loaded)


@pytest.fixture
def batcher(version: Counted) -> Iterator[Batcher]:
    made = Batcher(max_batch=4, max_waiting=40, max_bytes=LARGEST, report_end=print)
    yield made
    made.close()
    version.go.set()
    made.join()


def objects(values: list[bytes]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def submit(batcher: Batcher, version: Counted, files: list[bytes], needs: int = 1, signature: str = "view"):
    return batcher.submit(version, signature, {"image_bytes": objects(files)}, np.full(len(files), needs))


@pytest.fixture(scope="module")
def good(stored_pictures: list[bytes]) -> list[bytes]:
    picture = smooth("RGB", (60, 80))
    return [stored_pictures[0], encoded(picture, "PNG"), encoded(picture.convert("P"), "GIF")]


@pytest.fixture(scope="module")
def refused(stored_pictures: list[bytes]) -> list[bytes]:
    whole = stored_pictures[1]
    return [
        b"", b"text", b"\xff\xd8\xff", b"GIF89a", whole[:-200], whole[:3000], encoded(smooth("RGB"), "PNG")[:-50],
        encoded(Image.new("L", (9500, 9500)), "PNG"), encoded(Image.new("L", (20_000, 10)), "PNG"),
    ]  # fmt: skip


class TestScreening:
    FILES = "probabilities", "serving_default", "ten_view", "features"

    @pytest.mark.parametrize("signature", FILES)
    def test_only_good_files_run_and_the_answers_are_equal(
        self, version: Counted, good: list[bytes], refused: list[bytes], signature: str
    ) -> None:
        files = objects([refused[0], good[0], *refused[1:5], good[1], *refused[5:], good[2], b""])
        expected = version.version.run(signature, {"image_bytes": files})
        run_screened(version, signature, {"image_bytes": objects([b""])})  # once, to see what a refusal looks like
        version.calls.clear()
        found = run_screened(version, signature, {"image_bytes": files})
        assert version.rows()[signature] == len(good)
        assert_equal(found, expected)
        version.calls.clear()
        run_screened(version, signature, {"image_bytes": objects(refused * 20)})
        assert set(version.rows()) == {"view"} and version.rows()["view"] == len(refused)  # each file once

    def test_classify(self, version: Counted, good: list[bytes], refused: list[bytes]) -> None:
        examples = [tf.train.Example() for _ in range(6)]
        for example, file in zip(examples, [good[0], refused[1], refused[4]], strict=False):
            example.features.feature["image"].bytes_list.value.append(file)
        examples[3].features.feature["image"].int64_list.value.append(1)
        examples[4].features.feature["image"].bytes_list.value.extend([good[0], good[1]])
        inputs = {"inputs": objects([*[example.SerializeToString() for example in examples], b"no example"])}
        expected = version.version.run("classify", inputs)
        assert_equal(run_screened(version, "classify", inputs), expected)
        version.calls.clear()
        assert_equal(run_screened(version, "classify", inputs), expected)
        assert version.rows()["classify"] == 2  # the good one, and one of those that hold no picture

    def test_pixels(self, version: Counted) -> None:
        thin, nothing = np.zeros((5, 2, 300, 3), np.uint8), np.zeros((5, 0, 0, 3), np.uint8)
        broken = np.random.default_rng(0).uniform(0, 255, (5, 20, 30, 3)).astype(np.float32)
        broken[1, 3, 4, 0], broken[3] = np.nan, np.inf
        both = thin.astype(np.float32)
        both[2] = np.nan
        for signature, images, most in (
            ("images", thin, 1), ("images", nothing, 1), ("float_images", broken, 4), ("float_images", both, 2)
        ):  # fmt: skip
            expected = version.version.run(signature, {"images": images})
            assert_equal(run_screened(version, signature, {"images": images}), expected)
            version.calls.clear()
            run_screened(version, signature, {"images": images})
            assert version.rows()[signature] <= most

    def test_first_look_knows_the_declared_size(self, good: list[bytes], refused: list[bytes]) -> None:
        assert [first_look(file).pixels for file in good] == [256 * 256, 4800, 4800]
        assert [first_look(file).pixels for file in refused[-2:]] == [MAX_PIXELS, 200_000]
        assert not first_look(good[0]).doubtful

    def test_dense_files_are_inflated_before_they_run(self, version: Counted) -> None:
        """No graph can do it; and a sound one runs, and costs the model nothing more."""
        sound, swollen = noisy_png(600, 300_000), noisy_png(600, 300_000, megabytes=300)
        assert len(swollen) > len(sound) > 2 * SPARE_PNG_DATA
        assert not first_look(sound).doubtful
        files = objects([sound, swollen])
        example = tf.train.Example()
        example.features.feature["image"].bytes_list.value.append(swollen)
        for signature, inputs, expected in (
            ("probabilities", {"image_bytes": files}, [b"ok", MUCH_PNG_DATA.encode()]),
            ("view", {"image_bytes": files}, [b"ok", MUCH_PNG_DATA.encode()]),
            ("classify", {"inputs": objects([example.SerializeToString()])}, [MUCH_PNG_DATA.encode()]),
        ):
            run_screened(version, signature, inputs)  # once, to see what a refusal looks like
            version.calls.clear()
            start = time.perf_counter()
            found = run_screened(version, signature, inputs)
            assert time.perf_counter() - start < 5
            statuses = found["classes"][:, 0] if signature == "classify" else found["status"]
            assert statuses.tolist() == expected
            assert version.calls == [(signature, 1)] * (len(expected) - 1)

    def test_damage_that_a_checksum_shows_runs_no_network(self, version: Counted) -> None:
        sound = noisy_png(300, 200_000)
        damaged = bytearray(sound)
        damaged[len(sound) // 2] ^= 1
        assert len(damaged) > SMALL and damaged[-12:] == sound[-12:]
        run_screened(version, "probabilities", {"image_bytes": objects([b""])})
        version.calls.clear()
        inputs = {"image_bytes": objects([bytes(damaged)])}
        assert run_screened(version, "probabilities", inputs)["status"][0].startswith(b"damaged")
        assert version.rows() == {"view": 1}


class TestGraph:
    """The model itself, in TensorFlow Serving, too, where nothing is screened before it runs."""

    FILES = "probabilities", "serving_default", "ten_view", "features"

    @pytest.mark.parametrize("signature", FILES)
    def test_refused_pictures_run_no_network(
        self, loaded: LoadedVersion, good: list[bytes], refused: list[bytes], signature: str
    ) -> None:
        damaged = bytearray(encoded(smooth("RGB", (300, 400)).quantize(64), "GIF"))
        damaged[-2000:] = bytes([0x77]) * 2000  # larger than SMALL, and of a structure that shows nothing
        views = 10 if signature == "ten_view" else 1
        assert len(damaged) > SMALL
        assert batches_of_network(loaded, signature, image_bytes=objects([*refused, bytes(damaged)])) == set()
        assert batches_of_network(loaded, signature, image_bytes=objects([b"", *good, b"", *refused])) == {3 * views}

    def test_pixels_and_examples(self, loaded: LoadedVersion, good: list[bytes]) -> None:
        broken = np.zeros((3, 20, 30, 3), np.float32)
        broken[0, 1, 2, 0] = np.nan
        assert batches_of_network(loaded, "float_images", images=broken) == {2}
        assert batches_of_network(loaded, "float_images", images=broken[:1]) == set()
        assert batches_of_network(loaded, "images", images=np.zeros((5, 2, 300, 3), np.uint8)) == set()
        example = tf.train.Example()
        assert batches_of_network(loaded, "classify", inputs=objects([example.SerializeToString(), b"?"])) == set()


def batches_of_network(version: LoadedVersion, signature: str, **inputs: np.ndarray) -> set[int]:
    """On how many views the convolutions ran, of the nodes that TensorFlow itself says have run."""
    told = tf.compat.v1.RunMetadata()
    wanted = version.signatures[signature]
    version.session.run(
        [output.name for output in wanted.outputs.values()],
        {wanted.inputs[name].name: array for name, array in inputs.items()},
        tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE),
        told,
    )
    nodes = [node for device in told.step_stats.dev_stats for node in device.node_stats]
    assert len(nodes) > 10
    ran = [node for node in nodes if "Conv2D(" in node.timeline_label]
    return {node.output[0].tensor_description.shape.dim[0].size for node in ran}


class TestTurns:
    def test_a_large_request_shares_its_batches(self, batcher: Batcher, version: Counted) -> None:
        version.go.clear()
        large = submit(batcher, version, [b"x"] * 12)
        assert version.begun.wait(30)
        small = [submit(batcher, version, [b"y"]) for _ in range(2)]
        order: list[str] = []
        large.add_done_callback(lambda _: order.append("large"))
        for one in small:
            one.add_done_callback(lambda _: order.append("small"))
        version.go.set()
        assert len(large.result(30)["status"]) == 12 and [len(one.result(30)["status"]) for one in small] == [1, 1]
        assert order == ["small", "small", "large"]
        assert version.calls == [("view", 4), ("view", 4), ("view", 4), ("view", 2)]

    def test_one_request_cannot_take_all_places(self, batcher: Batcher, version: Counted) -> None:
        with pytest.raises(RequestError, match="holds 21 pictures, and one may hold 20") as fault:
            submit(batcher, version, [b"x"] * 21)
        assert fault.value.kind == "RESOURCE_EXHAUSTED"
        version.go.clear()
        taken = [submit(batcher, version, [b"x"] * 20) for _ in range(2)]
        assert version.begun.wait(30)
        submit(batcher, version, [b"x"] * 4)  # in place of those that run
        with pytest.raises(RequestError, match="more than 40 pictures are waiting"):
            submit(batcher, version, [b"x"])
        assert taken[1].cancel()
        submit(batcher, version, [b"x"])
        version.go.set()

    def test_batches_are_bounded_by_memory(self, batcher: Batcher, version: Counted) -> None:
        assert submit(batcher, version, [b"x"] * 6, needs=LARGEST // 2).result(30)
        assert submit(batcher, version, [b"x"] * 2, needs=2 * LARGEST).result(30)  # one is always run
        assert [count for _, count in version.calls] == [2, 2, 2, 1, 1]

    def test_what_is_left_of_a_cancelled_request_is_not_run(self, batcher: Batcher, version: Counted) -> None:
        version.go.clear()
        cancelled = submit(batcher, version, [b"x"] * 12)
        assert version.begun.wait(30) and cancelled.cancel()
        version.go.set()
        assert submit(batcher, version, [b"y"]).result(30)
        assert version.calls == [("view", 4), ("view", 1)]

    def test_a_stop_turns_away_even_what_runs(self, version: Counted) -> None:
        batcher = Batcher(max_batch=4, max_waiting=40, max_bytes=LARGEST, report_end=print)
        version.go.clear()
        running, waiting = (submit(batcher, version, [b"x"] * 4) for _ in range(2))
        assert version.begun.wait(30)
        batcher.close()
        for one in (running, waiting):
            with pytest.raises(RequestError, match="the server is stopping"):
                one.result(1)
        version.go.set()
        batcher.join()

    def test_the_end_of_the_thread_is_told_and_nobody_waits_for_ever(self, version: Counted) -> None:
        def fail(signature: str, inputs: Arrays) -> Arrays:
            raise SystemExit("of the thread")

        told: list[BaseException] = []
        batcher = Batcher(max_batch=4, max_waiting=40, max_bytes=LARGEST, report_end=told.append)
        version.run = fail
        answers = [submit(batcher, version, [b"x"] * 4), submit(batcher, version, [b"y"] * 4)]
        for answer in answers:
            with pytest.raises(RequestError, match="the server is stopping"):
                answer.result(30)
        batcher.join()
        assert isinstance(told[0], SystemExit) and batcher.fault is told[0]
        with pytest.raises(RequestError, match="the server is stopping"):
            submit(batcher, version, [b"x"])


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        if array.dtype == object:
            assert found[name].tolist() == array.tolist(), name
        else:
            assert_close(found[name], array, WHOLE_NETWORK, name=name)
