"""`python -m loadtest.parser_fuzz --minutes 10`: texts that are no formulas, and many that are.

Every text goes through all that a publish does with one: parse, compile, survey, run, explain. It
must end in a formula or a FormulaError with a place in the text, within a CPU second, and the
process must not grow. The first text that does anything else is printed, with its seed, and ends
the drill.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from service.fusion import FormulaError, compile_formula
from service.fusion.functions import FUNCTIONS
from service.fusion.intervals import survey
from service.fusion.parser import parse_signature
from service.fusion.ranges import Range, point

SLOWEST_S = 1.0  # CPU time of one text
GROWTH_MB = 32.0  # what a process may grow by, once it is warm
_WARM_TEXTS = 2_000
_LOOK_EVERY = 500

HEADS = ("ctr", "vcr", "like")
ATTRIBUTES = ("videolen_s",)
SCALARS = ("context.hour",)
PARAMS = {"a": 0.3, "b": 1.2}
_ROWS = 8
_INPUTS = {name: Range(0.0, 1.0) for name in HEADS} | {
    "videolen_s": Range(0.0, 600.0),
    "context.hour": Range(0.0, 23.0),
}
_BOUNDS = {name: Range(0.0, 5.0) for name in PARAMS}
_POINTS = {name: point(value) for name, value in PARAMS.items()}

_SEEDS = (
    "ctr^a * (1 + vcr)^b * f(videolen_s)",
    "if(vcr > 0.5 and not like < 0.1, ctr * (1 + a * vcr), min(ctr, vcr, like))",
    "rrf(ctr, 60) + zscore(vcr) - minmax(like) / rank(ctr)",
    "piecewise(videolen_s, 0, 1, 30, 2, 60, 0.5) * decay(videolen_s, 30) # curve",
    "-2^-1^2 + clip(log1p(videolen_s / 30), 0, 1e-3) ** 2",
    "saturate(videolen_s, 30) * sigmoid(tanh(exp(-abs(sqrt(ctr)))))",
    "context.hour * rank_in",
)
_WORDS = (
    *FUNCTIONS, *HEADS, *ATTRIBUTES, *SCALARS, *PARAMS, "rank_in", "f", "x", "or", "and", "not",
    "(", ")", ",", "+", "-", "*", "/", "^", "**", "<=", "!=", "=", "${", "}", "#", "\n", "\t", " ",
    ".", "0", "1", "1e308", "1e999", "1e-400", "00", ".5", "5.", "1e", "é", "（", "\x00", "\ud800",
    "😀", "\u202e", "__class__", "ctr.vcr", "9" * 400, "a" * 300,
)  # fmt: skip


@dataclass
class Drill:
    """What was tried. `outcomes`: how many texts became formulas, and what others were told."""

    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""
    warm_mb: float = 0.0
    peak_mb: float = 0.0

    @property
    def texts(self) -> int:
        return sum(self.outcomes.values())


class Found(Exception):
    """A text that does what none may do."""


def fuzz(seconds: float, seed: int, tell: Callable[[Drill], None] = lambda _: None) -> Drill:
    """Try texts for so long.

    Raises:
        Found: a crash, a text that takes too long, an error without a place, or a growing process.
    """
    drill, rng = Drill(seed), random.Random(seed)
    until = time.monotonic() + seconds
    for text in _texts(rng):
        if time.monotonic() > until:
            return drill
        began = time.process_time()
        try:
            drill.outcomes[_try(text, rng)] += 1
        except Exception as error:
            raise Found(f"seed {seed}: {type(error).__name__}: {error}: {text!r}") from error
        took = time.process_time() - began
        if took > drill.slowest_s:
            drill.slowest_s, drill.slowest = took, text
        if took > SLOWEST_S:
            raise Found(f"seed {seed}: {took:.1f} s of CPU: {text!r}")
        if drill.texts == _WARM_TEXTS:
            drill.warm_mb = _resident_mb()
        if drill.texts % _LOOK_EVERY == 0:
            drill.peak_mb = max(drill.peak_mb, _resident_mb())
            if drill.warm_mb and drill.peak_mb > drill.warm_mb + GROWTH_MB:
                raise Found(f"seed {seed}: {drill.peak_mb:.0f} MB after {drill.warm_mb:.0f} MB")
            tell(drill)
    return drill


def _try(text: str, rng: random.Random) -> str:
    """All that a publish does with a text; "formula", or the first words of what it was told."""
    try:
        parse_signature(text)
    except FormulaError as error:
        _check_place(error)
    lets = {"f(x)": text if rng.random() < 0.2 else "1 / (1 + x)"}
    try:
        formula = compile_formula(
            text, lets=lets, params=PARAMS, heads=HEADS, attributes=ATTRIBUTES, scalars=SCALARS
        )
    except FormulaError as error:
        _check_place(error)
        return " ".join(word for word in error.message.split()[:4] if word.isalpha())
    survey(text, lets=lets, inputs=_INPUTS, params=_POINTS, bounds=_BOUNDS, heads=frozenset(HEADS))
    columns = {name: np.linspace(0, 1, _ROWS) for name in (*HEADS, *ATTRIBUTES)}
    scores = formula(columns, {"context.hour": 20.0}, rows=_ROWS)
    if not np.isfinite(scores.values[scores.valid]).all():
        raise Found("a valid score that is not finite")
    formula.explain(columns, {"context.hour": 20.0}, rows=_ROWS)
    return "formula"


def _check_place(error: FormulaError) -> None:
    lines = error.source.split("\n")
    if not (1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 2):
        raise Found(f"place {error.line}:{error.column} is outside the text")


def _texts(rng: random.Random) -> Iterator[str]:
    kept = list(_SEEDS)
    while True:
        text = rng.choice(_KINDS)(rng, kept)
        if rng.random() < 0.05:
            kept[rng.randrange(len(kept))] = text[:400]
        if rng.random() < 0.02:
            kept = list(_SEEDS)
        yield text


def _mutated(rng: random.Random, kept: list[str]) -> str:
    """A formula with a few pieces moved, doubled, dropped or replaced."""
    text = rng.choice(kept)
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randint(0, len(text)) for _ in range(2))
        piece = rng.choice(("", rng.choice(_WORDS), text[at:to] * 2, rng.choice(kept)))
        text = text[:at] + piece + text[rng.choice((at, to)) :]
    return text[:5_000]


def _soup(rng: random.Random, _: list[str]) -> str:
    glue = rng.choice(("", " "))
    return glue.join(rng.choices(_WORDS, k=rng.randint(0, 40)))


def _noise(rng: random.Random, _: list[str]) -> str:
    return "".join(chr(rng.choice((32, 127, 0x2FFF, 0xFFFF))) for _ in range(rng.randint(0, 200)))


def _deep(rng: random.Random, _: list[str]) -> str:
    """Long chains and deep nests, around every limit."""
    depth = rng.choice((1, 30, 63, 64, 65, 200, 511, 512, 2_000))
    opening, closing, core = rng.choice(
        (("(", ")", "ctr"), ("-", "", "1"), ("not ", "", "a"), ("ctr^", "", "2"), ("1+", "", "ctr"),
         ("abs(", ")", "vcr"), ("if(a<b,1,", ")", "ctr"), ("f(", ")", "like"), ("max(1,", "", ""))
    )  # fmt: skip
    return opening * depth + core + closing * rng.choice((depth, depth, depth - 1))


_KINDS = (_mutated, _mutated, _mutated, _soup, _noise, _deep)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(
    minutes: Annotated[float, typer.Option(help="how long")] = 10.0,
    seed: Annotated[int, typer.Option(help="the same texts again")] = 0,
) -> None:
    """Fuzz; print a summary as JSON, or the text that broke something and status 1."""
    try:
        drill = fuzz(minutes * 60, seed)
    except Found as found:
        typer.echo(str(found).encode("unicode_escape").decode(), err=True)
        raise typer.Exit(1) from found
    summary = {
        "minutes": minutes,
        "seed": seed,
        "texts": drill.texts,
        "formulas": drill.outcomes["formula"],
        "kinds_of_refusal": len(drill.outcomes) - 1,
        "slowest_cpu_ms": round(drill.slowest_s * 1e3, 1),
        "warm_mb": round(drill.warm_mb, 1),
        "peak_mb": round(drill.peak_mb, 1),
    }
    typer.echo(json.dumps(summary, indent=1))


if __name__ == "__main__":
    typer.run(main)
