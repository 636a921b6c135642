"""What an ONNX file would load besides itself, read from its bytes without the onnx package.

ONNX is protobuf. This walks the wire format along the few fields that can name another file
(external data) or foreign code (operators of a custom domain), and skips the rest by its length.
Field numbers: onnx.proto3 of the ONNX project.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service.contract.errors import PackageError

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_MAX_NESTING = 64

# message -> field number -> message found there
CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_NODE_DOMAIN, _FUNCTION_DOMAIN = 7, 10
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14


@dataclass
class Contents:
    """Domains of the nodes, domains of functions the file defines, tensors kept elsewhere."""

    domains: set[str] = field(default_factory=set)
    own_domains: set[str] = field(default_factory=set)
    external: list[str] = field(default_factory=list)
    graphs: int = 0


def refuse_foreign_parts(model: bytes, label: str) -> None:
    """Raise PackageError unless `model` is one self-contained ONNX file of standard operators."""
    contents = Contents()
    try:
        _walk("model", memoryview(model), contents, 0)
    except (ValueError, IndexError) as err:
        raise PackageError(f"{label}: no ONNX file, or a truncated one ({err})") from err
    if not contents.graphs:
        raise PackageError(f"{label}: no ONNX file: it holds no graph")
    if contents.external:
        raise PackageError(
            f"{label}: tensor {contents.external[0]!r} keeps its data in another file"
            f" ({len(contents.external)} such tensors); export one file without external data"
        )
    if foreign := sorted(contents.domains - STANDARD_DOMAINS - contents.own_domains):
        raise PackageError(
            f"{label}: uses operators of domain {', '.join(map(repr, foreign))};"
            " only standard ONNX operators are served"
        )


def _walk(message: str, data: memoryview, contents: Contents, depth: int) -> None:
    if depth > _MAX_NESTING:
        raise ValueError(f"messages nested deeper than {_MAX_NESTING}")
    children = CHILDREN[message]
    contents.graphs += message == "graph"
    name, external, domain = "", False, ""
    for number, value in fields(data):
        if isinstance(value, int):
            external |= message == "tensor" and number == _TENSOR_LOCATION and value == 1
        elif number in children:
            _walk(children[number], value, contents, depth + 1)
        elif message == "tensor":
            external |= number == _TENSOR_EXTERNAL
            name = str(value, "utf-8", "replace") if number == _TENSOR_NAME else name
        elif message == "node" and number == _NODE_DOMAIN:
            domain = str(value, "utf-8", "replace")
        elif message == "function" and number == _FUNCTION_DOMAIN:
            contents.own_domains.add(str(value, "utf-8", "replace"))
    if message == "node":
        contents.domains.add(domain)
    if external:
        contents.external.append(name)


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or bytes) of one message, in wire order."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > end:
            raise ValueError(f"{length} bytes announced, {end - at} left")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")
