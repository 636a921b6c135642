"""Where the log lies and what its columns are called; writers and readers agree here.

`DIR/<scene>/<model>/<version>/requests-*.parquet`: one row a request, lists of one value a
candidate. `items-*.parquet` beside them: what the stored record of an item was and how it was
encoded, once for each content (`version`) that requests were scored from.
"""

from pathlib import Path

FORMAT = 1
REQUESTS, ITEMS = "requests", "items"
HEAD, ATTRIBUTE, INPUT = "head.", "attribute.", "input."
INPUTS = tuple(
    f"{side}_{block}"
    for side in ("user", "context", "item", "cross")
    for block in ("ids", "values")
)
METADATA = b"finerank.log"


def directory_of(root: Path, scene: str, model: str) -> Path:
    """Of a model "name/version"."""
    return root / scene / model
