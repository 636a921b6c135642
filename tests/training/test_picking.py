"""picking: the same heads, of parts that the graph takes out of a table itself."""

import json

import numpy as np
import onnx
import pytest

from service.scoring.session import Session
from training.picking import picking

WIDTH = 6


def pairs(dtype: str) -> onnx.ModelProto:
    """Adds the two parts and one number of the pair; a row's heads are of that row alone."""
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        rank (float[1,{WIDTH}] user_part, {dtype}[batch,{WIDTH}] item_part,
              float[batch,1] cross_values) => (float[batch] ctr, float[batch] like)
        <int64[1] axes = {{1}}> {{
            item = Cast <to = 1> (item_part) sides = Add(item, user_part)
            x = Add(sides, cross_values) y = Sin(x)
            ctr = ReduceSum <keepdims = 0> (y, axes) like = ReduceMax <keepdims = 0> (y, axes) }}"""
    )


@pytest.mark.parametrize("dtype", ["float", "uint8"])
@pytest.mark.parametrize("rows", [[3, 0, 8], [5, 5, 5, 5, 1], list(range(9))], ids=json.dumps)
def test_heads_have_the_bits_of_the_graph_that_is_given_the_parts(dtype, rows):
    draw = np.random.default_rng(1)
    table = draw.integers(0, 255, (9, WIDTH)).astype("uint8" if dtype == "uint8" else "float32")
    user = draw.standard_normal((1, WIDTH)).astype("float32")
    given = {
        "user_part": user,
        "cross_values": draw.standard_normal((len(rows), 1)).astype("float32"),
    }
    model = picking(pairs(dtype))
    onnx.checker.check_model(model, full_check=True)
    at = np.array(rows)
    found = Session(model.SerializeToString()).run(
        given | {"item_rows": at}, tables={"item_parts": table}
    )
    expected = Session(pairs(dtype).SerializeToString()).run(given | {"item_part": table[at]})
    assert found.keys() == expected.keys() == {"ctr", "like"}
    for head, values in expected.items():
        np.testing.assert_array_equal(found[head], values, err_msg=head)


def test_the_graph_that_is_changed_stays_as_it_was():
    before = pairs("float")
    content = before.SerializeToString()
    picking(before)
    assert before.SerializeToString() == content
