"""Run a study and write its page: `python -m training.study FILE.toml --data DIR [--table]`."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.scoring.threads import cpu_budget
from training.config.file import ConfigError
from training.data.errors import DataError
from training.peers.peer import PeerMissing
from training.study.page import page
from training.study.plan import Study, Trial, load_study, trials

app = typer.Typer(add_completion=False)


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="The study's TOML file.")],
    data: Annotated[Path | None, typer.Option(help="Directory of the log.")] = None,
    results: Annotated[
        Path, typer.Option(help="Directory of <study>.jsonl and <study>.md.")
    ] = Path("docs/results"),
    runs: Annotated[Path, typer.Option(help="Directory of checkpoints.")] = Path("runs/studies"),
    only: Annotated[list[str], typer.Option(help="Run only runs of this name or group.")] = [],  # noqa: B006
    overrides: Annotated[list[str], typer.Option("--set", help="key=value over every run.")] = [],  # noqa: B006
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of every run; else what this machine allows.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Only write the page.")] = False,
) -> None:
    """Train what the results file lacks, append a line a run, and write the page."""
    console = Console()
    try:
        found = load_study(file)
        lines = results / f"{found.name}.jsonl"
        if not table:
            if data is None:
                raise ConfigError("give --data DIR, or --table to write the page of what is there")
            wanted = [
                trial
                for trial in trials(found, file.parent, overrides)
                if not only or {trial.entry.name, trial.entry.group} & set(only)
            ]
            _run_all(found, wanted, data, lines, runs, console, threads)
        command = f"python -m training.study {file}"
        text = page(found, _read(lines), commands=[f"{command} --data DIR", f"{command} --table"])
        (results / f"{found.name}.md").write_text(text)
    except (ConfigError, DataError, OSError) as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from err


def _run_all(
    study: Study,
    wanted: list[Trial],
    data: Path,
    lines: Path,
    runs: Path,
    console: Console,
    threads: int | None,
) -> None:
    import torch

    from training.study.trial_run import Logs, run_trial

    torch.set_num_threads(threads or cpu_budget().threads)
    done = {(line["run"], line["seed"], line["digest"]) for line in _read(lines)}
    left = [t for t in wanted if (t.entry.name, t.seed, t.digest) not in done]
    console.print(f"{len(wanted) - len(left)} runs are there, {len(left)} to go", highlight=False)
    logs, started = Logs(data), time.monotonic()
    for number, trial in enumerate(left, start=1):
        console.rule(f"{number}/{len(left)} {trial.entry.name}, seed {trial.seed}")
        try:
            line = run_trial(study, trial, logs, runs, console)
        except PeerMissing as err:
            console.print(f"left out: {err}", highlight=False)
            continue
        _append(lines, line)
        shown = ", ".join(f"{m} {line['metrics'].get(m, float('nan')):.4f}" for m in study.metrics)
        minutes = (time.monotonic() - started) / number * (len(left) - number) / 60
        said = f"{shown}; {line['seconds']:.0f} s, about {minutes:.0f} min left"
        console.print(said, highlight=False)


def _append(path: Path, line: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


if __name__ == "__main__":
    app()
