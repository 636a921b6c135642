"""Golden rows survive their files, encode like requests, and are refused when garbled."""

from pathlib import Path

import numpy as np
import pytest

from service.contract.encode import encode_request
from service.contract.errors import PackageError
from service.contract.golden import Golden, encode_raw, read_golden, write_golden
from tests.contract.schemas import FULL

RAW = [
    {
        "user": {"id": "712", "features": {"age": 20, "user_author": {"9": [0.5]}}},
        "context": {"tab": "0"},
        "item": {"id": "a", "features": {"author": "9", "videolen_s": 3.5}},
    },
    {"user": {"id": "?"}, "context": {}, "item": {"id": "c"}},
]
GOLDEN = Golden(RAW, encode_raw(FULL, RAW), {"ctr": np.array([0.1, 0.2], np.float32)})


def test_golden_rows_survive_their_files(tmp_path: Path) -> None:
    write_golden(tmp_path, GOLDEN)
    back = read_golden(tmp_path)
    assert back.raw == RAW
    assert back.encoded.keys() == FULL.inputs.keys()
    for name, block in GOLDEN.encoded.items():
        np.testing.assert_array_equal(back.encoded[name], block)
    np.testing.assert_array_equal(back.heads["ctr"], GOLDEN.heads["ctr"])


def test_a_golden_row_is_encoded_as_a_request_of_one() -> None:
    alone = encode_request(
        FULL,
        {"user_id": "712", "age": 20, "user_author": {"9": [0.5]}},
        {"tab": "0"},
        {"video_id": ["a"], "author": ["9"], "videolen_s": [3.5]},
        1,
    )
    for name, block in alone.items():
        np.testing.assert_array_equal(GOLDEN.encoded[name][:1], block)


def test_absent_attributes_take_their_default() -> None:
    assert GOLDEN.attributes(FULL)["videolen_s"].tolist() == [3.5, 10.0]


def test_garbled_files_are_refused(tmp_path: Path) -> None:
    write_golden(tmp_path, GOLDEN)
    (tmp_path / "golden.npz").write_bytes((tmp_path / "golden.npz").read_bytes()[:50])
    with pytest.raises(PackageError, match="golden rows cannot be read"):
        read_golden(tmp_path)


def test_unequal_lengths_are_refused(tmp_path: Path) -> None:
    write_golden(tmp_path, Golden(RAW[:1], GOLDEN.encoded, GOLDEN.heads))
    with pytest.raises(PackageError, match=r"unequal or zero lengths \[1, 2\]"):
        read_golden(tmp_path)
