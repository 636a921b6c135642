"""The Open Inference Protocol over HTTP: golden rows in, golden heads out, else a sentence."""

import copy

import numpy as np
import pytest

from service.contract.golden import read_golden


@pytest.fixture(scope="module")
def golden(models):
    return read_golden(models / "tiny" / "1")


@pytest.fixture
def request_of(golden):
    def build(rows=8):
        types = {"int32": "INT32", "float32": "FP32"}
        return {
            "id": "r-1",
            "inputs": [
                {
                    "name": name,
                    "shape": list(block[:rows].shape),
                    "datatype": types[str(block.dtype)],
                    "data": block[:rows].ravel().tolist(),
                }
                for name, block in golden.encoded.items()
            ],
        }

    return build


def infer(service, document, path="/v2/models/tiny/infer", **headers):
    return service.client.post(path, json=document, headers=headers)


def test_the_server_and_its_models_describe_themselves(service, golden):
    get = service.client.get
    assert get("/v2").json()["name"] == "finerank"
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    told = get("/v2/models/tiny").json()
    assert told == get("/v2/models/tiny/versions/1").json()
    assert told["versions"] == ["1"]
    assert {i["name"]: i["shape"][1] for i in told["inputs"]} == {
        name: block.shape[1] for name, block in golden.encoded.items()
    }
    assert {o["name"] for o in told["outputs"]} == set(golden.heads)
    assert get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer"])
def test_golden_rows_give_golden_heads(service, golden, request_of, path):
    answer = infer(service, request_of(), path)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["id"], told["model_name"], told["model_version"]) == ("r-1", "tiny", "1")
    assert {output["name"] for output in told["outputs"]} == set(golden.heads)
    for output in told["outputs"]:
        assert (output["datatype"], output["shape"]) == ("FP32", [8])
        np.testing.assert_allclose(output["data"], golden.heads[output["name"]][:8], atol=1e-6)


def test_heads_are_chosen_by_name_and_tensors_may_be_nested(service, golden, request_of):
    asked = request_of()
    for tensor in asked["inputs"]:
        tensor["data"] = np.reshape(tensor["data"], tensor["shape"]).tolist()
    asked["outputs"] = [{"name": "ctr"}]
    (output,) = infer(service, asked).json()["outputs"]
    np.testing.assert_allclose(output["data"], golden.heads["ctr"][:8], atol=1e-6)


def test_one_user_row_stands_for_all(service, request_of):
    asked = request_of()
    for tensor in asked["inputs"]:
        if tensor["name"].startswith(("user", "context")):
            width = tensor["shape"][1]
            tensor["shape"], tensor["data"] = [1, width], tensor["data"][:width]
    assert infer(service, asked).status_code == 200


def tensor(named, /, **changes):
    def change(asked):
        next(t for t in asked["inputs"] if t["name"] == named).update(changes)

    return change


def without(name):
    def change(asked):
        asked["inputs"] = [t for t in asked["inputs"] if t["name"] != name]

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("user_ids"), "/inputs: the model also takes user_ids"),
        (
            tensor("user_ids", name="usr_ids"),
            "/name: the model has no input 'usr_ids'; did you mean 'user_ids'?",
        ),
        (tensor("user_values", name="user_ids"), "/name: input 'user_ids' is given twice"),
        (
            tensor("user_ids", datatype="FP32"),
            "/datatype: 'user_ids' takes INT32 or INT64, not 'FP32'",
        ),
        (tensor("user_ids", shape=[8, 9]), "/shape: 'user_ids' takes shape [rows, 5], not [8, 9]"),
        (
            tensor("user_ids", shape=[7, 5]),
            "/data: 'user_ids' holds 40 values, its shape [7, 5] says 35",
        ),
        (
            tensor("user_ids", shape=[2, 5], data=[0] * 10),
            "/shape: 'user_ids' has 2 rows, others have 8",
        ),
        (
            tensor("user_ids", data=[0] * 6 + [5] + [0] * 33),
            "/data: user_ids[1][1] is 5; ids of feature 'age_range' are 0 … 4",
        ),
        (tensor("user_ids", data=[0.5] * 40), "/data: 'user_ids' takes whole numbers only"),
        (tensor("user_values", data=["a"] * 8), "/data: 'user_values' takes numbers only"),
        (
            tensor("user_values", data=[1e300] * 8),
            "/data: user_values[0][0] is 1e+300: too large for FP32",
        ),
        (
            tensor("user_ids", data=[[1, 2], [3]]),
            "/data: the rows of 'user_ids' differ in length",
        ),
        (
            lambda asked: asked.update(outputs=[{"name": "ctrr"}]),
            "/outputs/0/name: the model has no head 'ctrr'; did you mean 'ctr'?",
        ),
    ],
)
def test_a_tensor_that_the_model_cannot_take_is_a_sentence_with_its_place(
    service, request_of, change, sentence
):
    asked = copy.deepcopy(request_of())
    change(asked)
    answer = infer(service, asked)
    assert answer.status_code == 422
    told = answer.json()
    assert told["error"] == told["detail"]
    assert told["detail"].endswith(sentence)


def test_a_model_that_is_not_loaded_is_a_sentence(service, request_of):
    for path in ("/v2/models/none", "/v2/models/tiny/versions/9"):
        answer = service.client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"].endswith("is not loaded (loaded: tiny/1)")


def test_more_rows_than_are_ranked_at_once_are_refused(service, request_of):
    asked = request_of()
    for one in asked["inputs"]:
        width = one["shape"][1]
        one["shape"], one["data"] = [2001, width], [0] * 2001 * width
    answer = infer(service, asked)
    assert answer.json()["detail"] == (
        "/inputs: 2001 rows are too many: at most 2000 are run at once"
    )


def test_binary_tensors_are_refused(service, request_of):
    answer = infer(service, request_of(), **{"inference-header-content-length": "10"})
    assert "the binary extension is not spoken" in answer.json()["error"]
