"""`python -m loadtest.explain_cost`: CPU of a request with the code of explain, and without it.

The service runs in this process with the demo package; requests go to its ASGI application. Batches
alternate between the functions as they are and the same functions with every statement cut out that
only explain needs. The difference of neighbouring batches is what explain costs who does not ask.
"""

import ast
import inspect
import json
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Annotated, Any

import typer
import uvloop

from loadtest.asgi_client import post
from loadtest.cost_file import write_cost
from service.api import rank_route, replies
from service.commands.runtime import build_runtime
from service.scoring import scored, scorer
from service.settings import load_settings

_BATCH = 25  # requests; process CPU is read between batches
_WARM_UP = 100
_NAMES = {"explaining", "explained", "explain"}

# (where it is looked up, its name there, the module that defines it, its qualified name)
_FUNCTIONS: tuple[tuple[Any, str, ModuleType, Callable[..., Any]], ...] = (
    (scorer, "score", scored, scored.score),
    (scorer.Scorer, "_rank", scorer, scorer.Scorer._rank),
    (rank_route, "rank_reply", replies, replies.rank_reply),
)


class _Cut(ast.NodeTransformer):
    """Cuts statements that test for an explanation or make one."""

    def __init__(self) -> None:
        self.cuts = 0

    def visit_If(self, node: ast.If) -> Any:
        names = {getattr(n, "id", getattr(n, "attr", None)) for n in ast.walk(node.test)}
        if names & _NAMES:
            self.cuts += 1
            return None
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "explaining":
            self.cuts += 1
            node.value = ast.Constant(None)
        return node


def without_explain(function: Callable[..., Any], module: ModuleType) -> Callable[..., Any]:
    """The function with those statements cut out.

    Raises:
        ValueError: it has none: the measurement would compare a function with itself.
    """
    cut = _Cut()
    tree = cut.visit(ast.parse(textwrap.dedent(inspect.getsource(function))))
    if not cut.cuts:
        raise ValueError(f"{function.__qualname__} has nothing that only explain needs")
    names: dict[str, Any] = dict(vars(module))
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), names)
    found: Callable[..., Any] = names[function.__name__]
    return found


@contextmanager
def _installed(functions: list[Callable[..., Any]]) -> Iterator[None]:
    for (place, name, _, _), function in zip(_FUNCTIONS, functions, strict=True):
        setattr(place, name, function)
    try:
        yield
    finally:
        for place, name, _, function in _FUNCTIONS:
            setattr(place, name, function)


async def _cpu_ms(app: Any, body: bytes) -> float:
    began = time.process_time()
    for _ in range(_BATCH):
        await post(app, body)
    return (time.process_time() - began) * 1000 / _BATCH


async def measure(models: Path, candidates: int, batches: int) -> dict[str, Any]:
    """CPU ms of a request: explain not asked for, with its code and without; and asked for."""
    cut = [without_explain(function, module) for _, _, module, function in _FUNCTIONS]
    whole = [function for *_, function in _FUNCTIONS]
    asked = {
        "scene": "demo",
        "user": {"id": "u1"},
        "candidates": {"ids": [f"i{n}" for n in range(candidates)]},
    }
    body, explained = (json.dumps({**asked, "explain": e}).encode() for e in (False, True))
    with tempfile.TemporaryDirectory() as state:
        settings = load_settings(
            models=models,
            state_dir=Path(state),
            threads=1,
            token="unused",
            demo=True,
            feature_timeout_ms=1000,
        )
        app = build_runtime(settings).app
        async with app.router.lifespan_context(app):
            for _ in range(_WARM_UP):
                await post(app, body)
            with_code, without, shares = [], [], []
            for number in range(batches):
                pair: dict[bool, float] = {}
                for has_code in (True, False) if number % 2 else (False, True):
                    with _installed(whole if has_code else cut):
                        pair[has_code] = await _cpu_ms(app, body)
                with_code.append(pair[True])
                without.append(pair[False])
                shares.append(pair[True] / pair[False] - 1)
            asking = [await _cpu_ms(app, explained) for _ in range(max(batches // 10, 3))]
    shares.sort()
    low, high = _interval(shares)
    return {
        "with_code_ms": {"least": round(min(with_code), 4), "median": round(median(with_code), 4)},
        "without_code_ms": {"least": round(min(without), 4), "median": round(median(without), 4)},
        "difference_percent": {
            "median": round(100 * median(shares), 2),
            "95_percent_interval_of_the_median": [round(100 * low, 2), round(100 * high, 2)],
        },
        "explained_ms": {"least": round(min(asking), 4), "median": round(median(asking), 4)},
    }


def _interval(values: list[float]) -> tuple[float, float]:
    """Of the median of sorted values, by the binomial distribution of their ranks."""
    count = len(values)
    half = 0.98 * count**0.5
    low, high = max(0, int(count / 2 - half)), min(count - 1, int(count / 2 + half))
    return values[low], values[high]


def main(
    out: Annotated[Path, typer.Option(help="JSON file")],
    models: Annotated[Path, typer.Option(help="with the demo package")] = Path("models"),
    candidates: Annotated[int, typer.Option(help="of a request, at most 300")] = 300,
    batches: Annotated[int, typer.Option(help=f"pairs of batches of {_BATCH} requests")] = 60,
) -> None:
    """Measure and write."""
    found = uvloop.run(measure(models, candidates, batches))
    result = {
        "what": "CPU of a request through the ASGI application; one inference thread; demo package",
        "candidates": candidates,
        "pairs": batches,
        "requests_a_batch": _BATCH,
        **found,
    }
    write_cost(out, result)
    typer.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
