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


if __name__ == "__main__":
    app()
