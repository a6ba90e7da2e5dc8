"""Classify, Regress and MultiInference, over REST and gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import examples_json
from serving.server.json_tensor import Body
from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def example(**features: float) -> tf.train.Example:
    built = tf.train.Example()
    for name, value in features.items():
        built.features.feature[name].float_list.value.append(value)
    return built


def source(*values: float | None, context: float | None = None) -> input_pb2.Input:
    """An example for each value of x, None: without x; and a context with x, if any."""
    built = input_pb2.Input()
    listed = built.example_list
    if context is not None:
        listed = built.example_list_with_context
        listed.context.CopyFrom(example(x=context))
    listed.examples.extend(example() if value is None else example(x=value) for value in values)
    return built


def regression(client: Client, given: input_pb2.Input, signature: str = "", **spec: Any) -> list[float]:
    request = regression_pb2.RegressionRequest(input=given)
    fill_spec(request, **{"name": client.name, **spec})
    request.model_spec.signature_name = signature
    response = prediction_service_pb2_grpc.PredictionServiceStub(client.channel).Regress(request, timeout=CALL_S)
    assert (response.model_spec.name, response.model_spec.version.value) == (client.name, 1)
    assert response.model_spec.signature_name == (signature or "serving_default")
    return [entry.value for entry in response.result.regressions]


def classification(
    client: Client, given: input_pb2.Input, signature: str = "classify"
) -> list[list[tuple[str, float]]]:
    request = classification_pb2.ClassificationRequest(input=given)
    fill_spec(request, name=client.name)
    request.model_spec.signature_name = signature
    response = prediction_service_pb2_grpc.PredictionServiceStub(client.channel).Classify(request, timeout=CALL_S)
    return [[(entry.label, entry.score) for entry in found.classes] for found in response.result.classifications]


@pytest.mark.parametrize("signature", ["", "column"])  # of shape [B] and [B, 1]
def test_regress(scorer: Client, signature: str) -> None:
    assert regression(scorer, source(1, 2), signature) == [2.5, 3.0]


@pytest.mark.parametrize(
    ("signature", "classes"),
    [
        ("classify", [[("small", 1.0), ("large", 2.5)], [("small", 2.0), ("large", 3.0)]]),
        ("scores", [[("", 1.0), ("", 2.5)], [("", 2.0), ("", 3.0)]]),
        ("classes", [[("small", 0.0), ("large", 0.0)], [("small", 0.0), ("large", 0.0)]]),
    ],
)
def test_classify(scorer: Client, signature: str, classes: list[list[tuple[str, float]]]) -> None:
    assert classification(scorer, source(1, 2), signature) == classes


def test_features_of_the_context_are_shared_and_the_examples_own_come_first(scorer: Client) -> None:
    assert regression(scorer, source(None, 8, context=2)) == [3.0, 6.0]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"examples": [{"x": 1.0}, {"x": [2.0]}]}, {"results": [2.5, 3.0]}),
        ({"examples": [{}, {"x": 8.0}], "context": {"x": 2.0}}, {"results": [3.0, 6.0]}),
        ({"signature_name": "column", "examples": [{"x": 0.2}]}, {"results": [2.1]}),  # not 2.0999999046325684
        ({"examples": [{"x": 1.0, "more": "text", "b": {"b64": "AA=="}, "n": [1, True]}]}, {"results": [2.5]}),
    ],
)
def test_regress_over_rest(scorer: Client, body: dict[str, Any], answer: dict[str, Any]) -> None:
    for route in (":regress", "/versions/1:regress", ":Regress"):
        response = scorer.post(body, route)
        assert (response.status_code, response.json()) == (200, answer)


def test_classify_over_rest(scorer: Client) -> None:
    response = scorer.post({"signature_name": "classify", "examples": [{"x": 1.0}, {}]}, ":classify")
    assert response.json() == {"results": [[["small", 1.0], ["large", 2.5]], [["small", 0.0], ["large", 2.0]]]}


def test_predict_takes_serialized_examples_of_such_a_model(scorer: Client) -> None:
    serialized = np.array([example(x=3).SerializeToString()], object)
    assert scorer.run("features", inputs=serialized)["outputs"].tolist() == [[3.0]]


REFUSED = [
    ("regress", "nothing", "No signature was found with the name: nothing"),
    ("regress", "classify", "Expected one output Tensor."),
    ("regress", "scores", "No regression outputs found in SignatureDef: "),
    ("regress", "unnamed", "No regression inputs found in SignatureDef: "),
    ("regress", "wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]"),
    ("regress", "repeated", "Input batch size did not match output batch size: 1 vs. 2"),
    ("classify", "", "Expected classification signature outputs to contain at least one of"),
    ("classify", "neither", 'Expected classification signature outputs to contain at least one of "classes" or "sc'),
    ("classify", "unnamed", "No classification inputs found in SignatureDef: "),
    ("classify", "odd", "Tensors class and score should match in dim_size(1). Got 2 vs. 4"),
    ("classify", "flat", "Expected Tensor shape: [batch_size num_classes] but got [1]"),
]


@pytest.mark.parametrize(("method", "signature", "text"), REFUSED)
def test_signature_that_is_none_of_the_method(scorer: Client, method: str, signature: str, text: str) -> None:
    call = regression if method == "regress" else classification
    code, found = failure(lambda: call(scorer, source(1), signature))
    assert (code, found[: len(text)]) == ("INVALID_ARGUMENT", text)
    response = scorer.post({"signature_name": signature, "examples": [{"x": 1.0}]}, f":{method}")
    assert (response.status_code, response.json()["error"][: len(text)]) == (400, text)


def test_signature_of_several_inputs_is_none_of_the_method(zoo: Client) -> None:
    assert failure(lambda: regression(zoo, source(1), "two")) == ("INVALID_ARGUMENT", "Expected one input Tensor.")
    assert failure(lambda: classification(zoo, source(1), "two")) == ("INVALID_ARGUMENT", "Expected one input Tensor.")


@pytest.mark.parametrize(
    ("given", "spec", "code", "text"),
    [
        (source(), {}, "INVALID_ARGUMENT", "Input is empty."),
        (source(context=1), {}, "INVALID_ARGUMENT", "Input is empty."),
        (source(1), {"name": None}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (source(1), {"name": "m"}, "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (source(1), {"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(scorer, 9)"),
    ],
)
def test_request_that_is_refused(
    scorer: Client, given: input_pb2.Input, spec: dict[str, Any], code: str, text: str
) -> None:
    request = regression_pb2.RegressionRequest(input=given)
    fill_spec(request, **{"name": "scorer", **spec})
    stub = prediction_service_pb2_grpc.PredictionServiceStub(scorer.channel)
    assert failure(lambda: stub.Regress(request, timeout=CALL_S)) == (code, text)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, "JSON Value: {\"examples\": 1} Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "JSON Value: {\"examples\": []} 'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": [1, "a"]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": ["a", 1.0]}]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": 1e39}]}, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        (
            {"examples": [{"x": 10**400}]},
            'Cannot convert JSON value: "(a huge integer)" to float without loss of precision.',
        ),
        ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
    ],
)
def test_json_that_is_no_example(document: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared below
        examples_json.serialized_examples(Body("", document))
    assert str(caught.value) == text


def test_kinds_of_features() -> None:
    values = {
        "i": [1, -(2**63), True],
        "f": [0.5, 2**70],
        "s": ["é", {"b64": "AAE="}],
        "none": [],
        "nan": float("nan"),
    }
    (serialized,) = examples_json.serialized_examples(Body("", {"examples": [values]}))
    features = tf.train.Example.FromString(serialized).features.feature
    assert list(features["i"].int64_list.value) == [1, -(2**63), 1]
    assert list(features["f"].float_list.value) == [0.5, 2.0**70]
    assert list(features["s"].bytes_list.value) == ["é".encode(), b"\0\1"]
    assert features["none"].WhichOneof("kind") is None
    assert np.isnan(features["nan"].float_list.value[0])


def multi(client: Client, *tasks: tuple[str, str, str], values: tuple[float, ...] = (1, 2)) -> Any:
    request = inference_pb2.MultiInferenceRequest(input=source(*values))
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    return prediction_service_pb2_grpc.PredictionServiceStub(client.channel).MultiInference(request, timeout=CALL_S)


def test_multi_inference_is_one_run(scorer: Client) -> None:
    response = multi(scorer, ("scorer", "", REGRESS), ("scorer", "classify", CLASSIFY))
    regressed, classified = response.results
    assert [entry.value for entry in regressed.regression_result.regressions] == [2.5, 3.0]
    assert regressed.model_spec.signature_name == "serving_default"
    assert classified.model_spec.version.value == 1
    (first, _) = classified.classification_result.classifications
    assert [(entry.label, entry.score) for entry in first.classes] == [("small", 1.0), ("large", 2.5)]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("scorer", "", REGRESS)] * 2, "INVALID_ARGUMENT", "Duplicate evaluation of signature: serving_default"),
        (
            [("scorer", "", REGRESS), ("zoo", "", REGRESS)],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("scorer", "", REGRESS), ("scorer", "no", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: no",
        ),
        (
            [("scorer", "scores", CLASSIFY), ("scorer", "other", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
        (
            [("scorer", "", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_multi_inference_that_is_refused(
    scorer: Client, tasks: list[tuple[str, str, str]], code: str, text: str
) -> None:
    assert failure(lambda: multi(scorer, *tasks)) == (code, text)


def test_damaged_example_is_an_invalid_argument(scorer: Client) -> None:
    with pytest.raises(grpc.RpcError, match="Could not parse example input"):
        scorer.run("features", inputs=np.array([b"\xff\xff"], object))
