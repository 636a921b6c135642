"""`python -m loadtest.bench`: measure finerank beside its peers; write dated results and a report.

Run it on a machine that does nothing else. Peers are installed by `loadtest/peers/install`.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.catalogue import Catalogue
from loadtest.contenders import CONTENDERS, Contender, Place
from loadtest.gemm import gemm_gflop_per_s
from loadtest.machine import ROOT
from loadtest.measuring import NO_HURRY_MS, Pace, Run
from loadtest.open_loop import Arrivals
from loadtest.processes import ServerFailed
from loadtest.report import write_report
from loadtest.result_files import RESULTS, look_around, new_result
from loadtest.scenarios import Disagreement, NoCapacity, compare, curve, growth_round, overload
from loadtest.shape import Shape

BUSY = 0.5  # load average above which a result says so

# growth: variant -> options of bench_model; the first is the bench model itself.
VARIANTS: Mapping[str, Mapping[str, int]] = {
    "bench": {},
    "shared-4": {"shared": 4},
    "shared-8": {"shared": 8},
    "tasks-8": {"tasks": 8},
    "tasks-12": {"tasks": 12},
    "items-2000": {"items": 2_000},
    "items-200000": {"items": 200_000},
}

Work = Annotated[Path, typer.Option(help="where models, store and logs of the bench live")]
Results = Annotated[Path, typer.Option(help="where result files go")]
Rounds = Annotated[int, typer.Option(help="interleaved rounds; medians are over them")]
Seconds = Annotated[float, typer.Option(help="of each measurement")]
One = Annotated[str, typer.Option(help=f"one of {', '.join(CONTENDERS)}")]
Names = Annotated[str, typer.Option(help="comma-separated; those not installed are left out")]

_SIZES = (50, 100, 200, 500, 1_000, 2_000)
_WORK = ROOT / "build" / "bench"
_EVERYONE = ",".join(CONTENDERS)
_EVERY_VARIANT = ",".join(VARIANTS)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("compare")
def compare_command(
    contenders: Names = _EVERYONE,
    candidates: int = 500,
    rounds: Rounds = 5,
    seconds: Seconds = 8.0,
    work: Work = _WORK,
    results: Results = RESULTS,
) -> None:
    """Requests a second at 1 and 4 connections, against the peers."""
    some = _installed(contenders)
    around, pace = look_around(), Pace(rounds=rounds, seconds=seconds)
    place = prepared(Place(work))
    settings = {"contenders": [c.name for c in some], "candidates": candidates}
    _measure(
        "compare",
        settings,
        pace,
        some,
        results,
        around,
        lambda: compare(place, some, pace, candidates=candidates),
    )


@app.command("curve")
def curve_command(
    contender: One = "finerank",
    sizes: Annotated[str, typer.Option(help="candidates, comma-separated")] = "100,300,500,1000",
    loads: Annotated[str, typer.Option(help="% of capacity")] = "30,50,70,80,90,100",
    deadline_ms: Annotated[
        float, typer.Option(help="what requests ask for; 40 lets the service give up detail")
    ] = NO_HURRY_MS,
    even: Annotated[bool, typer.Option("--even", help="at a fixed rate, not at random")] = False,
    mixed: Annotated[bool, typer.Option(help="a mix of sizes, too")] = True,
    rounds: Rounds = 5,
    seconds: Seconds = 15.0,
    work: Work = _WORK,
    results: Results = RESULTS,
) -> None:
    """Open-loop p50, p99, p99.9 against offered load."""
    one = _installed(contender)[0]
    around, pace = look_around(), Pace(rounds=rounds, seconds=seconds)
    place = prepared(Place(work))
    form = one.forms[0]
    arrivals: Arrivals = "even" if even else "poisson"
    settings = {"contender": one.name, "form": form, "deadline_ms": deadline_ms}
    settings |= {"arrivals": arrivals}

    def runs() -> Iterator[Run]:
        return curve(
            place,
            one,
            pace,
            form=form,
            sizes=[int(n) for n in sizes.split(",")],
            loads=[float(load) / 100 for load in loads.split(",")],
            mixed=mixed,
            deadline_ms=deadline_ms,
            arrivals=arrivals,
        )

    _measure("curve", settings, pace, [one], results, around, runs)


@app.command("overload")
def overload_command(
    contender: One = "finerank",
    rounds: Rounds = 5,
    seconds: Seconds = 10.0,
    work: Work = _WORK,
    results: Results = RESULTS,
) -> None:
    """Goodput at 1, 2 and 4 times capacity, server and generator on a core each."""
    one = _installed(contender)[0]
    around, pace = look_around(), Pace(rounds=rounds, seconds=seconds)
    place = prepared(Place(work))
    form = one.forms[0]
    settings = {"contender": one.name, "form": form}
    _measure(
        "overload",
        settings,
        pace,
        [one],
        results,
        around,
        lambda: overload(place, one, pace, form=form),
    )


@app.command("growth")
def growth_command(
    variants: Annotated[str, typer.Option(help="comma-separated")] = _EVERY_VARIANT,
    rounds: Rounds = 5,
    seconds: Seconds = 1.5,
    work: Work = _WORK,
    results: Results = RESULTS,
) -> None:
    """Time of a request against candidates, experts, tasks and catalogue, beside the GEMM floor."""
    around = look_around()
    one = replace(CONTENDERS["finerank"], options=("--warm-items", "all"))
    pace = Pace(rounds=rounds, seconds=seconds, warm_up_s=seconds / 2)
    names = variants.split(",")
    places = {name: prepared(_variant_place(work, name), **VARIANTS[name]) for name in names}
    settings = {"variants": names, "gemm_gflop_per_s": gemm_gflop_per_s()}

    def runs() -> Iterator[Run]:
        for number, (name, place) in product(range(1, rounds + 1), places.items()):
            options = dict(VARIANTS[name])
            catalogue, shape = Catalogue(items=options.pop("items", 20_000)), Shape(**options)
            for run in growth_round(
                place,
                one,
                pace,
                number=number,
                variant=name,
                catalogue=catalogue,
                sizes=_SIZES if name == "bench" else (500,),
            ):
                yield run | {
                    "experts": shape.tasks * shape.own + shape.shared,
                    "tasks": shape.tasks,
                    "items": catalogue.items,
                    "gflop": round(shape.gflop(catalogue, run["candidates"]), 4),
                    "pair_gflop": round(shape.pair_gflop(catalogue, run["candidates"]), 4),
                }

    _measure("growth", settings, pace, [one], results, around, runs)


def _measure(
    kind: str,
    settings: Mapping[str, Any],
    pace: Pace,
    contenders: Sequence[Contender],
    directory: Path,
    around: Mapping[str, Any],
    runs: Callable[[], Iterator[Run]],
) -> None:
    notes = []
    if (load := around["machine"]["load_average_1m"]) > BUSY:
        notes.append(f"the machine was busy before the bench began: load average {load:.2f}")
        typer.echo(f"warning: {notes[0]}", err=True)
    found = []
    try:
        for run in runs():
            found.append(run)
            typer.echo(_line(run))
    except (ServerFailed, Disagreement, NoCapacity) as err:
        # Minutes of measuring are kept, marked as a part.
        notes.append(f"stopped early: {err}")
        typer.echo(notes[-1], err=True)
        if not found:
            raise typer.Exit(1) from err
    result = new_result(
        kind,
        {**settings, **vars(pace)},
        found,
        surroundings=around,
        peers={c.name: c.versions() for c in contenders if c.peer is not None},
        notes=notes,
    )
    path = result.write(directory)
    typer.echo(f"{path}\n{write_report(path)}")


def _line(run: Run) -> str:
    if run["loop"] == "open":
        load = f"{run['rate']:.0f}/s offered"
    else:
        load = f"{run['connections']} connections"
    latency = run["latency_ms"] or {"p50": float("nan"), "p99": float("nan")}
    return (
        f"round {run['round']}  {run.get('variant', run['contender']):<16} {run['form']:<8}"
        f"{run['candidates']:>6}"
        f"  {load:<16} {run['full_per_s']:8.1f} full/s"
        f"  p50 {latency['p50']:7.1f} ms  p99 {latency['p99']:7.1f} ms"
    )


def _installed(names: str) -> list[Contender]:
    found = []
    for name in names.split(","):
        if name not in CONTENDERS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(CONTENDERS)}")
        contender = CONTENDERS[name]
        if contender.is_installed:
            found.append(contender)
        else:
            typer.echo(f"left out: {name} (loadtest/peers/install {contender.environment})")
    if not found:
        raise typer.BadParameter("none of the contenders is installed")
    return found


def _variant_place(work: Path, name: str) -> Place:
    return Place(work if name == "bench" else work / "variants" / name)


def prepared(place: Place, **options: int) -> Place:
    """The place with the bench model in it, written by a process of its own the first time."""
    if not place.package.is_dir():
        where = ["--out", place.models, "--state-dir", place.state]
        sizes = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "loadtest.bench_model", *where, *sizes]
        subprocess.run(command, cwd=ROOT, check=True)
    return place


if __name__ == "__main__":
    app()
