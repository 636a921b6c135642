"""Matplotlib as this project draws: no display, colour-blind safe, the same bytes each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito: told apart with every common colour blindness; markers differ as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#a0a000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#8a8a8a"

_STYLE = {
    "svg.hashsalt": "finerank",  # ids inside the file, else drawn at random
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Drawing:
    """Panels side by side; `svg` is theirs once the `with drawing(...)` block has ended."""

    def __init__(self, panels: int, columns: int, width: float, height: float) -> None:
        columns = min(columns, panels)
        rows = -(-panels // columns)
        self._figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        grid = self._figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in grid[panels:]:
            spare.set_axis_off()
        self.panels: list[Axes] = list(grid[:panels])
        self.svg = ""

    def finish(self) -> None:
        out = StringIO()
        FigureCanvasSVG(self._figure).print_svg(out, metadata=_NO_METADATA)
        self.svg = out.getvalue()


@contextmanager
def drawing(
    panels: int = 1, *, columns: int = 3, width: float = 3.4, height: float = 2.7
) -> Iterator[Drawing]:
    """Empty axes to draw on, in inches each."""
    with mpl.rc_context(_STYLE):
        found = Drawing(panels, columns, width, height)
        yield found
        found.finish()


def colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def marker(at: int) -> str:
    return MARKERS[at % len(MARKERS)]
