"""Which hash puts a unit into a bucket and an arm slot: ours, or that of the system it comes from.

A layer with `"hash": "growthbook"` or `"pairec"` gives every unit the arm that it has there, so
that a running experiment can move here without moving anybody. Each is two functions to 0 … 9999:

| hash | bucket of the layer | slot of the arm |
| --- | --- | --- |
| finerank | SHA-256 of `salt:unit` | SHA-256 of `salt:seed:unit` |
| growthbook | namespace `salt`, hash version 1, thousandths | `seed`, hash version 2 |
| pairec | FNV-1 of MD5 of `unit_salt`, hundredths | FNV-1 of MD5 of `unit_salt_seed`, hundredths |

`seed` is the experiment's, its name when it has none. For PAI-Rec the salt is `EXPROOM1_LAYER2` and
the seed `EXPGROUP3`, with the ids there.

Sources: growthbook/growthbook-python `growthbook/core.py` (`gbhash`, `inNamespace`) and its
`cases.json`; aliyun/aliyun-pairec-config-go-sdk `model/model_layer.go`, `experiments/client.go`.
"""

import hashlib
from collections.abc import Callable
from typing import Literal, NamedTuple

BUCKETS = 10_000

HashName = Literal["finerank", "growthbook", "pairec"]

_FNV32 = (0x811C9DC5, 0x01000193, 0xFFFFFFFF)  # offset basis, prime, mask
_FNV64 = (0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF)


class Hash(NamedTuple):
    """`bucket(salt, unit)` and `arm_slot(salt, seed, unit)`, both 0 … 9999."""

    bucket: Callable[[str, str], int]
    arm_slot: Callable[[str, str, str], int]


def bucket(*parts: str) -> int:
    """The slot 0 … 9999 of the parts joined by ":"."""
    return _slot(":".join(parts))


def _slot(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % BUCKETS


def fnv1a_32(text: str) -> int:
    """FNV-1a over the UTF-16 units of a text, as JavaScript's `charCodeAt` gives them."""
    value, prime, mask = _FNV32
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * prime) & mask
    return value


def fnv1_64(data: bytes) -> int:
    """FNV-1 (multiply, then xor), Go's `fnv.New64`."""
    value, prime, mask = _FNV64
    for byte in data:
        value = (value * prime & mask) ^ byte
    return value


def growthbook(seed: str, value: str, version: Literal[1, 2]) -> int:
    """GrowthBook's hash in ten-thousandths; version 1 has a resolution of thousandths."""
    if version == 1:
        return fnv1a_32(value + seed) % 1000 * (BUCKETS // 1000)
    return fnv1a_32(str(fnv1a_32(seed + value))) % BUCKETS


def pairec(key: str) -> int:
    """PAI-Rec's hash in ten-thousandths, with its resolution of hundredths."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
    return fnv1_64(digest) % 100 * (BUCKETS // 100)


HASHES: dict[HashName, Hash] = {
    "finerank": Hash(
        lambda salt, unit: _slot(f"{salt}:{unit}"),
        lambda salt, seed, unit: _slot(f"{salt}:{seed}:{unit}"),
    ),
    "growthbook": Hash(
        lambda salt, unit: growthbook(f"__{salt}", unit, 1),
        lambda salt, seed, unit: growthbook(seed, unit, 2),
    ),
    "pairec": Hash(
        lambda salt, unit: pairec(f"{unit}_{salt}"),
        lambda salt, seed, unit: pairec(f"{unit}_{salt}_{seed}"),
    ),
}
