"""The manifest: everything serving must know about a model package, checked when it is read.

Evolution: new fields have defaults; a field never changes its type or meaning; a reader refuses a
higher `format`.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from service.contract.errors import PackageError, UnknownModel
from service.contract.features import Feature, FeatureSchema, Name
from service.contract.heads import Head
from service.contract.pieces import read_pieces

FORMAT = 1
FILE = "manifest.json"

_FEATURE: TypeAdapter[Feature] = TypeAdapter(Feature)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Digest(_Strict):
    """Size and SHA-256 of one file of the package."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int


class Parity(_Strict):
    """Largest |difference| per head of two ways to compute it (relative, of values beyond 1), and
    the batch sizes measured.
    """

    max_abs_difference: dict[str, float]
    tolerance: float
    batches: tuple[int, ...]


class Variant(_Strict):
    """A second form of the graphs, and what it costs, measured on validation rows.

    `files`: file of the package -> the file that takes its place. Refused ones have none.
    `auc_loss`: by head with binary labels. `top10_overlap`: by head, over `lists` lists of
    candidates. `calibration`: by head, how far its mean moves, as a share of it; not measured by
    older exports. The rows of golden.npz reproduce `golden` within `tolerance`.
    """

    files: dict[str, str] = {}
    golden: str = ""
    tolerance: float = 0.0
    refused: str = ""
    auc_loss: dict[str, float]
    auc_loss_limit: float
    top10_overlap: dict[str, float]
    top10_overlap_limit: float
    calibration: dict[str, float] = {}
    calibration_limit: float | None = None
    max_abs_difference: dict[str, float]
    rows: int
    lists: int


class Training(_Strict):
    """Where the package comes from: enough to read the same log again and to repeat the run."""

    config: dict[str, Any]
    data_days: tuple[int, int] | None = None  # first and last day trained on, YYYYMMDD
    rows: int = 0
    git_commit: str = ""
    metrics: dict[str, float] = {}


class Manifest(_Strict):
    """`manifest.json`. Heads and features are named; nothing in it is found by position."""

    format: Literal[1] = 1
    name: Name | Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: Annotated[int, Field(ge=1)]
    created_at: str  # RFC 3339, UTC
    schema_: Annotated[FeatureSchema, Field(alias="schema")]
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    opset: int
    files: dict[str, Digest]
    parity: Parity  # torch and model.onnx
    training: Training
    cut: str = "not cut"  # 'user/item/rank', or why the graph is served whole
    cut_parity: Parity | None = None  # model.onnx and the three graphs
    variants: dict[str, Variant] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [h.name for h in self.heads]
        if len(set(names)) != len(names):
            raise ValueError(f"heads named twice: {', '.join(names)}")
        for head in self.heads:
            if missing := [p for p in head.product or () if p not in names]:
                raise ValueError(
                    f"head {head.name} is a product of {', '.join(missing)}, which the model lacks"
                )
        if clash := sorted(set(names) & {a.name for a in self.schema_.attributes}):
            raise ValueError(f"a head and an attribute share a name: {', '.join(clash)}")
        return self

    @property
    def head_names(self) -> tuple[str, ...]:
        return tuple(h.name for h in self.heads)

    @property
    def id(self) -> str:
        """`name/version`, as replies show it."""
        return f"{self.name}/{self.version}"

    def variant(self, name: str) -> Variant:
        """A published variant.

        Raises:
            UnknownModel: there is none of this name, or it was refused (why).
        """
        variant = self.variants.get(name)
        if variant is None:
            known = ", ".join(n for n, v in self.variants.items() if v.files) or "none"
            raise UnknownModel(f"model {self.id} has no variant {name!r} (known: {known})")
        if not variant.files:
            raise UnknownModel(f"model {self.id} has no variant {name!r}: {variant.refused}")
        return variant

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_manifest(directory: Path, between: Callable[[], object] = lambda: None) -> Manifest:
    """Read and check `directory/manifest.json`; `between` is called after each feature.

    Raises:
        PackageError: no manifest, not JSON, a newer format, an unknown or wrong field (where).
    """
    path = directory / FILE
    at: tuple[str | int, ...] = ()

    def feature(index: int, document: Any) -> Feature:
        nonlocal at
        at = ("schema", "features", index)
        found = _FEATURE.validate_python(document)
        between()
        return found

    try:
        document = read_pieces(path.read_text(), ("schema", "features"), feature)
        at = ()
        return Manifest.model_validate(document)
    except OSError as err:
        raise PackageError(f"{path}: cannot be read: {err.strerror or err}") from err
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = "/" + "/".join(str(p) for p in (*at, *first["loc"]))
        raise PackageError(
            f"{path}: {place}: {first['msg']} ({err.error_count()} findings)"
        ) from err
    except (ValueError, RecursionError) as err:
        raise PackageError(f"{path}: Invalid JSON: {err}") from err


def digest_file(path: Path) -> Digest:
    """SHA-256 and size of a file, read in blocks."""
    with path.open("rb") as file:
        return Digest(
            sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size
        )


def verify_files(directory: Path, manifest: Manifest, names: Iterable[str] | None = None) -> None:
    """Raise PackageError unless every file is there, a plain file, with the manifest's digest.

    `names`: only these.
    """
    for name in manifest.files if names is None else names:
        expected = manifest.files[name]
        path = directory / name
        if "/" in name or name.startswith("."):
            raise PackageError(f"{manifest.id}: file name {name!r} leaves the package")
        if path.is_symlink() or not path.is_file():
            raise PackageError(f"{manifest.id}: {name} is missing or no plain file")
        found = digest_file(path)
        if found != expected:
            raise PackageError(
                f"{manifest.id}: {name} does not match its digest"
                f" ({found.bytes} bytes, sha256 {found.sha256[:12]}…;"
                f" manifest: {expected.bytes} bytes, {expected.sha256[:12]}…)"
            )
