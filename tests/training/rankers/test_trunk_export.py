"""Every trunk as ONNX: the heads of PyTorch within 1e-5; ctcvr its factors' product bit for bit."""

import numpy as np
import pytest

from service.scoring.session import Session
from tests.training.rankers.test_cut import SCHEMA, made, rows
from training.export import run_heads
from training.to_onnx import to_onnx

TRUNKS = {
    "omoe": {"kind": "omoe", "experts": 2},
    "ml-mmoe": {"kind": "ml-mmoe", "levels": 2, "experts": 2},
    "aitm": {"kind": "aitm"},
    "stem": {"kind": "stem", "own": 1, "shared": 1},
    "adatt": {"kind": "adatt", "levels": 2, "own": 2},
    "attention": {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "gate": "attention"},
    "feature-selection": {"kind": "cgc", "own": 1, "shared": 1, "gate": "feature-selection"},
}


@pytest.mark.parametrize("trunk", TRUNKS)
def test_onnx_runtime_says_what_pytorch_says(trunk):
    heads = made(TRUNKS[trunk] | {"hidden": [16, 8]}, linear=trunk != "stem")
    blocks = {name: (dtype, width) for name, (_, dtype, width) in SCHEMA.inputs.items()}
    session = Session(to_onnx(heads, blocks, list(heads.heads)).SerializeToString())
    for many in (1, 7, 300):
        batch = {name: np.resize(x.numpy(), (many, x.shape[1])) for name, x in rows().items()}
        found, expected = session.run(batch), run_heads(heads, batch)
        for head, values in expected.items():
            np.testing.assert_allclose(found[head], values, rtol=0, atol=1e-5, err_msg=head)
        assert np.array_equal(found["ctcvr"], found["ctr"] * found["cvr"])
    assert expected["ctr"].std() > 0
