"""`python -m loadtest.report FILE…`: result files -> Markdown tables and SVG plots beside them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.pages.compare import compare
from loadtest.pages.curve import curve
from loadtest.pages.growth import growth
from loadtest.pages.overload import overload
from loadtest.pages.stall import stall
from loadtest.pages.swap import swap
from loadtest.result_files import Result

# kind of result -> its tables; plots are added to the mapping under their names
_SECTIONS: Mapping[str, Callable[[Result, dict[str, str]], list[str]]] = {
    "compare": compare,
    "curve": curve,
    "overload": overload,
    "growth": growth,
    "stall": stall,
    "swap": swap,
}


def write_report(path: Path) -> Path:
    """Write `<result>.md`, with its plots `<result>*.svg`; the path of the page.

    Raises:
        ResultError: `path` is no result.
    """
    result = Result.read(path)
    plots: dict[str, str] = {}
    sections = _SECTIONS[result.kind](result, plots)
    for name, content in plots.items():
        path.with_name(f"{path.stem}-{name}.svg").write_text(content)
    images = [f"![{name}]({path.stem}-{name}.svg)" for name in plots]
    page = path.with_suffix(".md")
    page.write_text("\n\n".join([_heading(result, path), *sections, *images]) + "\n")
    return page


def _heading(result: Result, path: Path) -> str:
    machine, source = result.machine, result.source
    settings = "; ".join(f"{name}: {_shown(value)}" for name, value in result.settings.items())
    lines = [
        f"# {result.kind}, {result.started_at}",
        "",
        f"- {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB,"
        f" load average before {machine['load_average_1m']:.2f}",
        f"- commit {source['commit'][:12]}{' with changes' if source['is_dirty'] else ''};"
        f" Python {result.versions['python']}, ONNX Runtime {result.versions.get('onnxruntime')}",
        f"- {settings}",
        f"- all figures, versions and CPU flags: [{path.name}]({path.name})",
        *(f"- **{note}**" for note in result.notes),
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def main(files: Annotated[list[Path], typer.Argument(help="result files")]) -> None:
    """Write the page and the plots of each result file beside it."""
    for file in files:
        typer.echo(write_report(file))


if __name__ == "__main__":
    typer.run(main)
