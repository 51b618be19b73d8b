"""alexnet_tf.serve over real sockets: TensorFlow Serving's forms, limits, batches, new versions, a graceful stop."""

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from alexnet_tf import serve
from alexnet_tf.program.errors import UserError
from tests.alexnet_tf.serving.exported_models import Exported
from tests.alexnet_tf.serving.servers import Server, b64
from tests.closeness import WHOLE_NETWORK, assert_close

PREDICT = "/v1/models/alexnet:predict"


def predict_request(signature: str, key: str, value: Any, dtype: Any = None) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "alexnet"
    request.model_spec.signature_name = signature
    request.inputs[key].CopyFrom(tf.make_tensor_proto(value, dtype))
    return request


@pytest.fixture
def channel(any_server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(any_server.grpc, [("grpc.max_send_message_length", -1)]) as opened:
        yield opened


@pytest.fixture
def prediction(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


class TestRest:
    def test_rows_and_columns(self, any_server: Server, program: Exported, stored_pictures: list[bytes]) -> None:
        files = stored_pictures[:2]
        expected = program.signature("serving_default")(image_bytes=tf.constant(files))
        rows = [
            {"instances": [{"image_bytes": b64(file)} for file in files]},
            {"signature_name": "serving_default", "instances": [b64(file) for file in files]},
        ]
        for body in rows:
            for path in (PREDICT, "/v1/models/alexnet/versions/1:predict"):
                status, answer = any_server.call(path, body)
                assert status == 200 and len(answer["predictions"]) == 2
                for number, row in enumerate(answer["predictions"]):
                    assert row["classes"] == [name.decode() for name in expected["classes"].numpy()[number]]
                    assert_close(row["scores"], expected["scores"].numpy()[number], WHOLE_NETWORK)
                    assert row["status"] == "ok"
        for inputs in ({"image_bytes": [b64(file) for file in files]}, [b64(file) for file in files]):
            _, answer = any_server.call(PREDICT, {"inputs": inputs})
            assert_close(answer["outputs"]["scores"], expected["scores"], WHOLE_NETWORK)
            assert set(answer["outputs"]) == {"classes", "labels", "scores", "status"}

    def test_numbers_and_bytes(self, any_server: Server, program: Exported, stored_pictures: list[bytes]) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), dtype=np.uint8)
        expected = program.signature("images")(images=tf.constant(pixels))["probabilities"]
        body = {"signature_name": "images", "instances": pixels.tolist()}
        _, answer = any_server.call(PREDICT, body)
        assert_close(answer["predictions"][0]["probabilities"], expected[0], WHOLE_NETWORK)
        _, answer = any_server.call(PREDICT, {"signature_name": "view", "instances": [b64(stored_pictures[0])]})
        expected = program.signature("view")(image_bytes=tf.constant(stored_pictures[:1]))["png_bytes"].numpy()[0]
        assert answer["predictions"][0]["png_bytes"] == b64(expected)  # by its name, as TensorFlow Serving does

    def test_classify(self, any_server: Server, program: Exported, stored_pictures: list[bytes]) -> None:
        body = {"signature_name": "classify", "examples": [{"image": b64(stored_pictures[0])}, {"image": "text"}]}
        status, answer = any_server.call("/v1/models/alexnet:classify", body)
        expected = program.signature("serving_default")(image_bytes=tf.constant(stored_pictures[:1]))
        good, bad = answer["results"]
        assert status == 200 and [name for name, _ in good] == [x.decode() for x in expected["classes"].numpy()[0]]
        assert_close([score for _, score in good], expected["scores"].numpy()[0], WHOLE_NETWORK)
        assert bad[0] == ["no JPEG, PNG or GIF file", 0.0]

    def test_status_and_metadata(self, any_server: Server) -> None:
        for path in ("/v1/models/alexnet", "/v1/models/alexnet/versions/1"):
            _, answer = any_server.call(path)
            assert answer == {
                "model_version_status": [
                    {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                ]
            }
        _, answer = any_server.call("/v1/models/alexnet/metadata")
        assert answer["model_spec"] == {"name": "alexnet", "signature_name": "", "version": "1"}
        signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
        assert signature["outputs"]["scores"]["tensor_shape"]["dim"][1] == {"size": "5", "name": ""}
        assert signature["method_name"] == "tensorflow/serving/predict"

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            (PREDICT, b"", 400),
            (PREDICT, b"{", 400),
            (PREDICT, b"[1]", 400),
            (PREDICT, b'"\xff"', 400),
            (PREDICT, {}, 400),
            (PREDICT, {"instances": []}, 400),
            (PREDICT, {"instances": [{}]}, 400),
            (PREDICT, {"instances": [1]}, 400),
            (PREDICT, {"instances": [{"image_bytes": {"b64": "!"}}]}, 400),
            (PREDICT, {"instances": [["two", "strings"]]}, 400),
            (PREDICT, {"instances": ["x"], "inputs": ["x"]}, 400),
            (PREDICT, {"signature_name": "nothing", "instances": ["x"]}, 400),
            (PREDICT, {"signature_name": 1, "instances": ["x"]}, 400),
            (PREDICT, {"signature_name": "images", "instances": [[[[1, 2]]]]}, 400),
            (PREDICT, {"signature_name": "images", "instances": [[[[1, 2, 3]], [[1, 2]]]]}, 400),
            (PREDICT, {"signature_name": "images", "instances": [[[[1, 2, "three"]]]]}, 400),
            (PREDICT, {"signature_name": "images", "instances": [[[[1, 2, 300]]]]}, 400),
            ("/v1/models/alexnet:classify", {"examples": [{"image": "x"}]}, 400),  # serving_default is for predict
            ("/v1/models/alexnet:classify", {"signature_name": "classify", "examples": [1]}, 400),
            ("/v1/models/alexnet:regress", {}, 400),
            ("/v1/models/alexnet/versions/7:predict", {"instances": ["x"]}, 404),
            ("/v1/models/other:predict", {"instances": ["x"]}, 404),
            ("/v1/models/other", None, 404),
            ("/v1/models/alexnet/versions/7", None, 404),
            ("/elsewhere", None, 404),
        ],
    )
    def test_faults_are_told_in_json(self, server: Server, path: str, body: Any, status: int) -> None:
        found, answer = server.call(path, body)
        assert (found, list(answer)) == (status, ["error"]) and answer["error"]

    def test_limits(self, server: Server) -> None:
        status, answer = server.call(PREDICT, b'{"instances": ["' + b"x" * 4_000_001 + b'"]}')
        assert status == 413 and "larger than 4000000" in answer["error"]
        status, answer = server.call(PREDICT, b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        assert status == 400 and "nested deeper than 16" in answer["error"]
        status, answer = server.call(PREDICT, {"instances": ['[\\"' * 100]})  # brackets in a text are none
        assert status == 200 and answer["predictions"][0]["status"] == "no JPEG, PNG or GIF file"
        status, answer = server.call(
            PREDICT, b'{"instances": ["' + b'\\"' * 1_000_000
        )  # hours, if each quote began a text
        assert status == 400 and "JSON Parse error" in answer["error"]

    def test_a_kept_connection_answers_at_once(self, server: Server) -> None:
        connection = http.client.HTTPConnection(server.rest, timeout=60)
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            connection.request("GET", "/v1/models/alexnet")
            assert connection.getresponse().read()
            seconds.append(time.perf_counter() - start)
        connection.close()
        assert (
            min(seconds) < 0.03
        )  # the client's kernel would confirm every header after 40 ms; others may hold up some


class TestGrpc:
    def test_predict(self, prediction, program: Exported, stored_pictures: list[bytes]) -> None:
        files = [*stored_pictures[:5], b"none"]  # more than run together
        response = prediction.Predict(predict_request("probabilities", "image_bytes", files), timeout=60)
        expected = program.signature("probabilities")(image_bytes=tf.constant(files))
        found = tf.make_ndarray(response.outputs["probabilities"])
        assert_close(found, expected["probabilities"], WHOLE_NETWORK)
        assert tf.make_ndarray(response.outputs["status"]).tolist() == expected["status"].numpy().tolist()
        assert response.model_spec.version.value == 1 and response.model_spec.signature_name == "probabilities"

    def test_one_output_of_no_picture(self, prediction) -> None:
        request = predict_request("serving_default", "image_bytes", [], tf.string)
        request.output_filter.append("scores")
        response = prediction.Predict(request, timeout=60)
        assert list(response.outputs) == ["scores"] and tf.make_ndarray(response.outputs["scores"]).shape == (0, 5)

    def test_classify(self, prediction, program: Exported, stored_pictures: list[bytes]) -> None:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = "alexnet", "classify"
        for place in (request.input.example_list, request.input.example_list_with_context):
            place.examples.add().features.feature["image"].bytes_list.value.append(stored_pictures[0])
            response = prediction.Classify(request, timeout=60)
            found = response.result.classifications[0].classes
            expected = program.signature("serving_default")(image_bytes=tf.constant(stored_pictures[:1]))
            assert [one.label for one in found] == [name.decode() for name in expected["classes"].numpy()[0]]
            assert_close([one.score for one in found], expected["scores"].numpy()[0], WHOLE_NETWORK)

    def test_metadata_and_status(self, prediction, channel: grpc.Channel) -> None:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "alexnet"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        prediction.GetModelMetadata(request, timeout=60).metadata["signature_def"].Unpack(signatures)
        assert "classify" in signatures.signature_def
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "alexnet"
        (found,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status).model_version_status
        assert (found.version, found.state) == (1, found.AVAILABLE)

    def test_faults_have_their_status(self, server: Server) -> None:
        with grpc.insecure_channel(server.grpc, [("grpc.max_send_message_length", -1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            def code_of(request: predict_pb2.PredictRequest, call: Any = stub.Predict) -> str:
                with pytest.raises(grpc.RpcError) as fault:
                    call(request, timeout=60)
                return fault.value.code().name

            other = predict_request("", "image_bytes", [b"x"])
            other.model_spec.name = "other"
            version = predict_request("", "image_bytes", [b"x"])
            version.model_spec.version.value = 7
            claiming = predict_request("images", "images", np.zeros((1, 1, 1, 3), np.uint8))
            claiming.inputs["images"].tensor_content = b""
            claiming.inputs["images"].int_val.append(7)
            claiming.inputs["images"].tensor_shape.dim[1].size = 10**12
            missing = predict_request("", "image_bytes", [b"x"])
            missing.inputs["image_bytes"].string_val.append(b"y")
            assert code_of(other) == code_of(version) == "NOT_FOUND"
            assert code_of(predict_request("nothing", "image_bytes", [b"x"])) == "FAILED_PRECONDITION"
            for wrong in (
                predict_request("", "images", [b"x"]),
                predict_request("", "image_bytes", [1.5]), predict_request("", "image_bytes", b"scalar"),
                missing,
            ):  # fmt: skip
                assert code_of(wrong) == "INVALID_ARGUMENT"
            assert code_of(claiming) == "RESOURCE_EXHAUSTED"
            assert code_of(predict_request("", "image_bytes", [b"x" * 4_100_000])) == "RESOURCE_EXHAUSTED"
            assert code_of(inference_pb2.MultiInferenceRequest(), stub.MultiInference) == "UNIMPLEMENTED"


def test_many_at_a_time_get_each_their_own(server: Server, program: Exported, stored_pictures: list[bytes]) -> None:
    expected = program.signature("probabilities")(image_bytes=tf.constant(stored_pictures))["probabilities"].numpy()
    faults: list[str] = []

    def ask(number: int) -> None:
        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for turn in range(4):
                files = [stored_pictures[number], b"bad", stored_pictures[(number + turn) % 12]][: 1 + turn]
                response = stub.Predict(predict_request("probabilities", "image_bytes", files), timeout=120)
                found = tf.make_ndarray(response.outputs["probabilities"])
                if not np.allclose(found[0], expected[number], atol=1e-5) or len(found) != len(files):
                    faults.append(f"{number} {turn}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_nothing_to_serve_is_told(program: Exported, tmp_path: Path, server: Server) -> None:
    with pytest.raises(UserError, match=r"no version in it; make one with alexnet-tf export"):
        serve.main(["--model", str(tmp_path), "--rest-port", "0"])
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(UserError, match="version 1 cannot be loaded"):
        serve.main(["--model", str(tmp_path), "--rest-port", "0"])
    port = server.rest.rpartition(":")[2]
    with pytest.raises(UserError, match=rf"--rest-port {port}: cannot listen"):
        serve.main(["--model", str(program.models), "--rest-port", port])
