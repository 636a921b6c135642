"""Load a model package and refuse it unless it reproduces its own golden rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from service.contract.encode import Array
from service.contract.errors import EncodeError, PackageError
from service.contract.features import FeatureSchema, IdFeature
from service.contract.golden import (
    JSON_FILE,
    NPZ_FILE,
    Golden,
    encode_raw,
    read_golden,
    read_heads,
)
from service.contract.manifest import FILE, Manifest, digest_file, verify_files
from service.contract.repository import Repository
from service.scoring.errors import RunFailed
from service.scoring.graphs import (
    CUT,
    CUT_FILES,
    MODEL_FILE,
    USER_SIDES,
    CutGraphs,
    Graphs,
    WholeGraph,
)
from service.scoring.session import Heads, Session

VALUE_TOLERANCE = 1e-6
HEAD_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A package that has proved itself: its manifest, its golden rows and its graphs.

    `golden` has the heads of the variant, where one is loaded.
    """

    manifest: Manifest
    golden: Golden
    graphs: Graphs
    variant: str | None = None

    @property
    def id(self) -> str:
        """`name/version`, of a variant `name/version+variant`."""
        return self.manifest.id + (f"+{self.variant}" if self.variant else "")

    @property
    def schema(self) -> FeatureSchema:
        return self.manifest.schema_


def load_package(
    repository: Repository,
    name: str,
    version: int,
    threads: int = 1,
    *,
    whole: bool = False,
    variant: str | None = None,
    proved: str | None = None,
    between: Callable[[], object] = lambda: None,
) -> LoadedModel:
    """Verify every digest, load the verified bytes, compare names and replay the golden rows.

    Args:
        repository, name, version: which package.
        threads: of one run.
        whole: load model.onnx where there is a cut, too: it takes rows of many users at once.
        variant: load that form of the graphs, and replay its own golden heads.
        proved: SHA-256 of a manifest whose package another process has verified and replayed. If
            it is this one, only what is loaded is verified, and nothing is replayed: the same
            bytes would give the same heads.
        between: called after each step.

    Raises:
        PackageError: the sentence names the package, the file and what is wrong.
        UnknownModel: it has no such variant.
        RuntimeProblem: ONNX Runtime is missing or installed twice.
    """
    manifest = repository.manifest(name, version, between)
    directory = repository.path(name, version)
    known = proved is not None and manifest_digest(repository, name, version) == proved
    cut = manifest.cut == CUT
    needed = (MODEL_FILE, JSON_FILE, NPZ_FILE, *(CUT_FILES if cut else ()))
    replaced, heads_file, tolerance = dict[str, str](), "", HEAD_TOLERANCE
    if variant is not None:
        if whole and cut:
            raise PackageError(f"{manifest.id}: its variant {variant!r} has no whole graph")
        form = manifest.variant(variant)
        replaced, heads_file, tolerance = form.files, form.golden, form.tolerance
        needed = (*needed, *replaced.values(), heads_file)
    if unlisted := [f for f in needed if f not in manifest.files]:
        raise PackageError(f"{manifest.id}: the manifest has no digest of {unlisted[0]}")
    golden_files = [f for f in (JSON_FILE, NPZ_FILE, heads_file) if f]
    verify_files(directory, manifest, golden_files if known else None)  # a graph: as it is read
    between()
    graphs = _open_graphs(directory, manifest, threads, replaced, between, cut=cut and not whole)
    golden = read_golden(directory)
    if variant is not None:
        golden = replace(golden, heads=read_heads(directory / heads_file))
    loaded = LoadedModel(manifest, golden, graphs, variant)
    _check_tables(loaded)
    between()
    if not known:
        _replay(loaded, tolerance)
    _ = loaded.schema.item_words  # made now: the first request must not wait for it
    return loaded


def manifest_digest(repository: Repository, name: str, version: int) -> str:
    """SHA-256 of a version's manifest, which holds those of all its files."""
    return digest_file(repository.path(name, version) / FILE).sha256


def _open_graphs(
    directory: Path,
    manifest: Manifest,
    threads: int,
    replaced: Mapping[str, str],
    between: Callable[[], object],
    *,
    cut: bool,
) -> Graphs:
    def session(graph: str) -> Session:
        file = replaced.get(graph, graph)
        content = _read_verified(directory, manifest, file)
        opened = Session(content, threads, label=f"{manifest.id}/{file}")
        between()
        return opened

    schema, heads = manifest.schema_, manifest.head_names
    if not cut:
        return WholeGraph(session(MODEL_FILE), schema, heads)
    user, item, rank = map(session, CUT_FILES)
    return CutGraphs(user, item, rank, schema, heads)


def _read_verified(directory: Path, manifest: Manifest, file: str) -> bytes:
    try:
        content = (directory / file).read_bytes()
    except OSError as err:
        raise PackageError(f"{manifest.id}: {file} cannot be read: {err.strerror}") from err
    if sha256(content).hexdigest() != manifest.files[file].sha256:
        raise PackageError(f"{manifest.id}: {file} changed while it was being read")
    return content


def _check_tables(loaded: LoadedModel) -> None:
    """Look up the last id of every vocabulary: beyond its table, it would fail a whole request."""
    schema = loaded.schema
    inputs: dict[str, Array] = {}
    for block, (side, dtype, width) in schema.inputs.items():
        inputs[block] = np.zeros((1, width), dtype)
        if dtype == "int32":
            ids = [_last_id(schema, f) for f in schema.id_features(side) for _ in range(f.ids)]
            inputs[block][0] = ids
    try:
        loaded.graphs.run(inputs)
    except RunFailed as err:
        raise PackageError(f"{loaded.id}: the last ids of the vocabularies fail: {err}") from err


def _last_id(schema: FeatureSchema, feature: IdFeature) -> int:
    vocabulary = schema.vocabularies[feature.name]
    return len(vocabulary) if isinstance(vocabulary, dict) else vocabulary


def _replay(loaded: LoadedModel, head_tolerance: float) -> None:
    golden, schema = loaded.golden, loaded.schema
    if set(golden.heads) != set(loaded.manifest.head_names):
        raise PackageError(
            f"{loaded.id}: {NPZ_FILE} has heads {', '.join(sorted(golden.heads))};"
            f" the manifest {', '.join(sorted(loaded.manifest.head_names))}"
        )
    try:
        encoded = encode_raw(schema, golden.raw)
        golden.attributes(schema)
    except EncodeError as err:
        raise PackageError(f"{loaded.id}: a golden row cannot be encoded: {err}") from err
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise PackageError(
            f"{loaded.id}: {JSON_FILE} is not rows of user, context and item: {err!r}"
        ) from err
    for name, (_, dtype, _) in schema.inputs.items():
        tolerance = 0.0 if dtype == "int32" else VALUE_TOLERANCE
        if name not in golden.encoded:
            raise PackageError(f"{loaded.id}: {NPZ_FILE} has no encoded block {name!r}")
        _compare(
            f"{loaded.id}: golden block {name!r}", encoded[name], golden.encoded[name], tolerance
        )
    try:
        together = _beside_each_other(loaded, encoded)
        alone = _one_by_one(loaded, encoded)
    except RunFailed as err:
        raise PackageError(f"{loaded.id}: the golden rows cannot be run: {err}") from err
    for head in loaded.manifest.head_names:
        what = f"{loaded.id}: golden head {head!r}"
        _compare(what, together[head], golden.heads[head], head_tolerance)
        _compare(f"{what}, each row run alone,", alone[head], golden.heads[head], head_tolerance)


def _one_by_one(loaded: LoadedModel, encoded: Mapping[str, Array]) -> Heads:
    """Each golden row alone: a graph that mixes rows (statistics over the minibatch) shows here."""
    rows = range(len(loaded.golden.raw))
    runs = [loaded.graphs.run({n: block[r : r + 1] for n, block in encoded.items()}) for r in rows]
    return {head: np.concatenate([run[head] for run in runs]) for head in runs[0]}


def _beside_each_other(loaded: LoadedModel, encoded: Mapping[str, Array]) -> Heads:
    """Each golden row among all others: as one of its user's candidates, the way it is served."""
    rows, inputs = range(len(loaded.golden.raw)), loaded.schema.inputs
    if isinstance(loaded.graphs, WholeGraph):
        return loaded.graphs.run(encoded)
    runs = [
        loaded.graphs.run(
            {n: b[r : r + 1] if inputs[n][0] in USER_SIDES else b for n, b in encoded.items()}
        )
        for r in rows
    ]
    return {
        head: np.array([run[head][r] for r, run in zip(rows, runs, strict=True)])
        for head in runs[0]
    }


def _compare(what: str, found: Array, expected: Array, tolerance: float) -> None:
    if found.shape != expected.shape:
        raise PackageError(f"{what} has shape {found.shape}, stored {expected.shape}")
    for kind, values in (("computed", found), ("stored", expected)):
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise PackageError(f"{what} is not finite in row {row} ({kind})")
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    # of an amount beyond 1 (watch seconds), float32 keeps a share, not decimals
    if not (difference <= tolerance * np.maximum(1, np.abs(expected.astype(np.float64)))).all():
        row = int(np.unravel_index(np.argmax(difference), difference.shape)[0])
        raise PackageError(
            f"{what} differs in row {row}: computed {found[row]}, stored {expected[row]}"
            f" (tolerance {tolerance:g})"
        )
