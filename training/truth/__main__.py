"""Write the pages about known truth: `python -m training.truth esmm`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)
Page = Annotated[Path, typer.Option(help="The page to write; its plot stands beside it.")]


@app.callback()
def about() -> None:
    """Pages about worlds whose truth is known."""


@app.command()
def esmm(page: Page = Path("docs/results/esmm-truth.md")) -> None:
    """What click-only, ESMM, IPS and AMAN say of conversions."""
    from training.truth.conversion_page import write

    write(page)


@app.command("conflict-log")
def conflict_log(directory: Annotated[Path, typer.Argument(help="Where log.csv goes.")]) -> None:
    """The log of two conflicting tasks that training/studies/seesaw.toml learns from."""
    from training.truth.conflict_log import write

    write(directory)


@app.command()
def seesaw(
    lines: Annotated[Path, typer.Option(help="What the study appended.")] = Path(
        "docs/results/seesaw.jsonl"
    ),
) -> None:
    """The plot of the seesaw study, beside its lines."""
    from training.truth.seesaw_plot import seesaw_plot

    lines.with_suffix(".svg").write_text(seesaw_plot(lines))


if __name__ == "__main__":
    app()
