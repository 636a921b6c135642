"""Records are read from each format with their place; what is no record says why."""

import sys
from pathlib import Path

import pytest

from service.features.errors import LoadError
from service.features.record_files import BadRow, Row, open_records


def read(path: Path, id_column: str = "id") -> list[Row | BadRow]:
    return list(open_records(path, id_column).rows())


def values(path: Path, id_column: str = "id") -> dict[str, dict[str, object]]:
    rows = read(path, id_column)
    assert all(isinstance(row, Row) for row in rows), rows
    return {row.id: row.values for row in rows if isinstance(row, Row)}


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_jsonl_has_one_object_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "u.jsonl",
        '{"id": "1", "age": "old", "rates": {"x": [1, 2]}}\n\n{"id": 2, "age": null}\n',
    )
    assert values(path) == {"1": {"age": "old", "rates": {"x": [1, 2]}}, "2": {}}


def test_jsonl_takes_the_form_of_a_request_too(tmp_path: Path) -> None:
    path = write(tmp_path / "u.jsonl", '{"id": "1", "features": {"age": "old"}}')
    assert values(path) == {"1": {"age": "old"}}


def test_bad_jsonl_lines_have_their_place(tmp_path: Path) -> None:
    path = write(
        tmp_path / "u.jsonl",
        '{"id": "1"}\n{"id": \n[1]\n{"age": 3}\n{"id": true}\n{"id": ""}\n{"id": "2"}\n',
    )
    rows = read(path)
    assert [type(row) for row in rows] == [Row, BadRow, BadRow, BadRow, BadRow, BadRow, Row]
    whys = [row.why for row in rows if isinstance(row, BadRow)]
    assert whys[0].startswith(f"{path}:2: not JSON: ")
    assert whys[1:] == [
        f"{path}:3: not an object",
        f"{path}:4: id None is neither a string nor an integer",
        f"{path}:5: id True is neither a string nor an integer",
        f"{path}:6: id '' is neither a string nor an integer",
    ]


def test_csv_values_are_typed_as_json_writes_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "i.csv",
        'id,price,code,tags,name,empty\n007,12.5,007,"[""a"", ""b""]",24-30,\n8,-3,1e3,{},"a,b",\n',
    )
    assert values(path) == {
        "007": {"price": 12.5, "code": "007", "tags": ["a", "b"], "name": "24-30"},
        "8": {"price": -3, "code": 1000.0, "tags": {}, "name": "a,b"},
    }


def test_csv_with_a_byte_order_mark_and_another_id_column(tmp_path: Path) -> None:
    path = write(tmp_path / "i.csv", b"\xef\xbb\xbfvideo_id,x\r\n5,1\r\n")
    assert values(path, "video_id") == {"5": {"x": 1}}


def test_bad_csv_lines_have_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "i.csv", 'id,x\n1,2\n3\n"4\n4",5\n\n,6\n7,8,9\n')
    rows = read(path)
    assert [row.why for row in rows if isinstance(row, BadRow)] == [
        f"{path}:3: 1 values for 2 columns",
        f"{path}:7: id '' is neither a string nor an integer",
        f"{path}:8: 3 values for 2 columns",
    ]
    assert [row.place for row in rows if isinstance(row, Row)] == [f"{path}:2", f"{path}:4"]


def test_parquet_keeps_its_types_and_drops_nan(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "id": [1, 2],
            "price": [float("nan"), 2.5],
            "tags": [["a"], None],
            "rates": pa.array(
                [[("x", [1.0, 2.0])], []], pa.map_(pa.string(), pa.list_(pa.float64()))
            ),
        }
    )
    parquet.write_table(table, tmp_path / "i.parquet")
    assert values(tmp_path / "i.parquet") == {
        "1": {"tags": ["a"], "rates": {"x": [1.0, 2.0]}},
        "2": {"price": 2.5, "rates": {}},
    }


def test_infinite_value_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "i.parquet"
    parquet.write_table(pa.table({"id": ["a"], "price": [float("inf")]}), path)
    assert read(path) == [BadRow(1, f"{path}:row 1: price is inf")]


def test_positions_end_at_the_total(tmp_path: Path) -> None:
    jsonl = write(tmp_path / "u.jsonl", '{"id": "é"}\n{"id": "2"}')
    csv = write(tmp_path / "u.csv", 'id,x\n1,"two\nlines"\n2,é\n')
    for path in (jsonl, csv):
        records = open_records(path)
        positions = [row.position for row in records.rows()]
        assert positions == sorted(positions)
        assert positions[-1] == records.total


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"u\.tsv: cannot read '\.tsv' \(known: \.jsonl, \.ndjson"):
        open_records(tmp_path / "u.tsv")
    with pytest.raises(LoadError, match=r"gone\.csv: no such file"):
        open_records(tmp_path / "gone.csv")
    with pytest.raises(LoadError, match=r"u\.csv: no column 'id' \(columns: user_id, age\)"):
        open_records(write(tmp_path / "u.csv", "user_id,age\n"))
    with pytest.raises(LoadError, match=r"x\.parquet: not Parquet: "):
        open_records(write(tmp_path / "x.parquet", "not parquet"))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(LoadError, match=r"reading Parquet needs pyarrow: \./install cpu,log"):
        open_records(write(tmp_path / "x.parquet", ""))
