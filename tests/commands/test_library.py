"""`finerank library` against a real service."""

import json

NAME = "curves"
LIBRARY = {"format": 1, "library": NAME, "let": {"short(x)": "1 / (1 + x)"}}


def test_libraries_are_listed_published_and_read(finerank, tmp_path):
    empty = finerank("library", "list")
    assert empty.stdout == ""
    assert empty.stderr == (
        "no library yet; publish one: finerank library publish NAME FILE (docs/publishing.md)\n"
    )
    file = tmp_path / "curves.json"
    file.write_text(json.dumps(LIBRARY))
    assert finerank("library", "publish", NAME, file).stdout == f"{NAME}/1\n"
    listed = finerank("library", "list")
    assert (listed.stdout, listed.stderr) == (f"{NAME}/1\n", "")
    assert json.loads(finerank("library", "get", NAME).stdout) == LIBRARY
    same = finerank("library", "publish", NAME, file, status=3)
    assert same.stderr.splitlines()[0] == "warning: nothing changes against version 1"
    file.write_text(json.dumps(LIBRARY | {"let": {"short(x)": "1 / (2 + x)"}}))
    lines = finerank("library", "publish", NAME, file).stdout.splitlines()
    assert '-  "short(x)": "1 / (1 + x)"' in lines
    assert lines[-1] == f"{NAME}/2"
