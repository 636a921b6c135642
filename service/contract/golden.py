"""Golden rows: raw and encoded inputs and head outputs that a loaded package must reproduce."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, encode_request
from service.contract.errors import PackageError
from service.contract.features import FeatureSchema

JSON_FILE = "golden.json"
NPZ_FILE = "golden.npz"
_HEAD = "head:"


@dataclass(frozen=True)
class Golden:
    """R rows. `raw`: {"user": {"id", "features"}, "context": {}, "item": {"id", "features"}} each.

    `encoded`: input name -> (R, width). `heads`: head name -> (R,) float32.
    """

    raw: Sequence[Mapping[str, Any]]
    encoded: Mapping[str, Array]
    heads: Mapping[str, NDArray[np.float32]]

    def attributes(self, schema: FeatureSchema) -> dict[str, NDArray[np.float64]]:
        """Attributes of the golden items, (R,) float64; absent ones take the declared default."""
        columns = {}
        for attribute in schema.attributes:
            found = [row["item"].get("features", {}).get(attribute.name) for row in self.raw]
            columns[attribute.name] = np.array(
                [attribute.default if v is None else v for v in found], np.float64
            )
        return columns


def encode_raw(schema: FeatureSchema, raw: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Encode golden rows as requests of one candidate would be: input name -> (R, width)."""
    rows = []
    for row in raw:
        user = dict(row["user"].get("features", {}))
        item = dict(row["item"].get("features", {}))
        if schema.user_id_feature is not None:
            user[schema.user_id_feature] = row["user"].get("id")
        if schema.item_id_feature is not None:
            item[schema.item_id_feature] = row["item"].get("id")
        items = {name: (value,) for name, value in item.items()}
        rows.append(encode_request(schema, user, row.get("context", {}), items, 1))
    return {name: np.concatenate([row[name] for row in rows]) for name in schema.inputs}


def write_golden(directory: Path, golden: Golden) -> None:
    """Write `golden.json` and `golden.npz` (no pickle)."""
    (directory / JSON_FILE).write_text(
        json.dumps(list(golden.raw), indent=0, ensure_ascii=False) + "\n"
    )
    arrays: dict[str, Any] = {**golden.encoded, **{_HEAD + n: v for n, v in golden.heads.items()}}
    np.savez_compressed(directory / NPZ_FILE, **arrays)


def write_heads(path: Path, heads: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the heads of a variant on the golden rows."""
    arrays: dict[str, Any] = {_HEAD + name: values for name, values in heads.items()}
    np.savez_compressed(path, **arrays)


def read_heads(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read them back.

    Raises:
        PackageError: missing or unreadable; the sentence names the file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {n.removeprefix(_HEAD): arrays[n] for n in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as err:
        raise PackageError(f"{path}: golden heads cannot be read: {err}") from err


def read_golden(directory: Path) -> Golden:
    """Read both files back.

    Raises:
        PackageError: missing, unreadable or of unequal lengths; the sentence names the file.
    """
    try:
        raw = json.loads((directory / JSON_FILE).read_bytes())
        with (
            (directory / NPZ_FILE).open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            heads = {n.removeprefix(_HEAD): arrays[n] for n in arrays.files if n.startswith(_HEAD)}
            encoded = {n: arrays[n] for n in arrays.files if not n.startswith(_HEAD)}
    except (OSError, ValueError, zipfile.BadZipFile) as err:
        raise PackageError(f"{directory}: golden rows cannot be read: {err}") from err
    lengths = {len(raw), *map(len, heads.values()), *map(len, encoded.values())}
    if len(lengths) != 1 or lengths == {0}:
        raise PackageError(
            f"{directory}: golden rows have unequal or zero lengths {sorted(lengths)}"
        )
    return Golden(raw=raw, encoded=encoded, heads=heads)
