"""What click-only, ESMM, IPS and AMAN say of conversions in worlds whose truth is known: a page and
its plot.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from training.report.canvas import colour, drawing
from training.truth.conversion_estimators import ESTIMATORS, learn
from training.truth.conversion_worlds import WORLDS, Floats, World, draw, population

ROWS, SEEDS = 200_000, 10


@dataclass(frozen=True, eq=False)
class Estimated:
    """What one estimator says of one world. Means are over all impressions, or clicked ones."""

    curve: Floats  # P(conversion) at every x of the world's grid
    mean: float
    mean_of_clicked: float
    log_loss: float  # over all impressions, had all been clicked
    spread: float  # standard deviation of `mean` over logs of ROWS impressions


def estimate(world: World, name: str, *, rows: int = ROWS, seeds: int = SEEDS) -> Estimated:
    """Learn from infinitely many impressions, and again from `seeds` logs of `rows`."""
    known = world.curves()
    x, density = torch.from_numpy(known["x"]), known["density"]
    curve = learn(name, population(world)).predict_cvr(x).numpy()
    drawn = [
        learn(name, draw(world, rows, seed=seed)).predict_cvr(x).numpy() for seed in range(seeds)
    ]
    clicked = density * known["ctr"] / (density @ known["ctr"])
    truth = known["cvr"]
    return Estimated(
        curve=curve,
        mean=float(density @ curve),
        mean_of_clicked=float(clicked @ curve),
        log_loss=float(-density @ (truth * np.log(curve) + (1 - truth) * np.log1p(-curve))),
        spread=float(np.std([density @ c for c in drawn], ddof=1)) if seeds > 1 else float("nan"),
    )


def write(page: Path, *, rows: int = ROWS, seeds: int = SEEDS) -> None:
    """Write the page and, beside it, its plot `<page>.svg`."""
    found = {
        world.name: {name: estimate(world, name, rows=rows, seeds=seeds) for name in ESTIMATORS}
        for world in WORLDS
    }
    lines = [_HEAD.format(plot=page.with_suffix(".svg").name, rows=rows, seeds=seeds)]
    for world in WORLDS:
        known = world.curves()
        truth = float(known["density"] @ known["cvr"])
        lines += [f"## {world.name.capitalize()}", "", world.says, ""]
        lines += [f"True mean P(conversion | do(click)): **{truth:.4f}**.", ""]
        lines += ["| | mean, infinite data | off by | mean of clicked | log loss | spread |"]
        lines += ["| --- " * 6 + "|"]
        lines += [
            f"| {name} | {e.mean:.4f} | {_off(e.mean / truth - 1)} | {e.mean_of_clicked:.4f}"
            f" | {e.log_loss:.4f} | {e.spread:.4f} |"
            for name, e in found[world.name].items()
        ]
        lines += [""]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([*lines, _FOOT]))
    page.with_suffix(".svg").write_text(_plot(found))


def _off(share: float) -> str:
    return f"{round(share, 3) + 0.0:+.1%}"  # no -0.0


def _plot(found: dict[str, dict[str, Estimated]]) -> str:
    with drawing(len(WORLDS), columns=2, width=4.2, height=2.9) as drawn:
        for axes, world in zip(drawn.panels, WORLDS, strict=True):
            _panel(axes, world, found[world.name])
        drawn.panels[1].legend(loc="upper center", ncols=2)
    return drawn.svg


def _panel(axes: Axes, world: World, found: dict[str, Estimated]) -> None:
    known = world.curves()
    shown = np.flatnonzero(np.abs(known["x"]) <= 3)[::6]
    x, density, truth = known["x"][shown], known["density"][shown], known["cvr"][shown]
    most = 1.15 * max(truth.max(), found["click-only"].curve[shown].max())
    for weight, color, label in (
        (density, "#ececec", "all impressions"),
        (density * known["ctr"][shown], "#cfe3f3", "clicked ones"),
    ):
        axes.fill_between(x, 0, weight / weight.max() * most * 0.35, color=color, label=label)
    axes.plot(x, truth, color="black", linewidth=2.5, label="truth")
    for at, (name, estimated) in enumerate(found.items()):
        dashes = "--" if name == "ESMM" else "-"  # it lies on click-only
        axes.plot(x, estimated.curve[shown], color=colour(at), linestyle=dashes, label=name)
    axes.set(title=world.name, xlabel="x", ylabel="P(conversion | click)", ylim=(0, most))


_HEAD = """# What ESMM recovers, and what it does not

Written by `python -m training.truth esmm`, in worlds of one feature whose probabilities are
known. The popular claim is that a conversion model trained on clicked impressions is biased over
all impressions, and that ESMM removes that bias. It is not so:

- **Where the model can express the truth, training on clicks alone is right over all impressions,
  and so are ESMM and IPS.** Selection by what the model sees costs data, not correctness. What is
  badly wrong is counting every unclicked impression as not converted (AMAN): that is the bias
  ESMM avoids.
- **Where the model cannot express the truth, ESMM is almost exactly as wrong as training on
  clicks alone.** Its product loss weighs the input space by the click rate just as clicks do.
  Weighing by the inverse click rate (IPS) gives the right mean and the best fit of its kind.
- With rare conversions the same holds, and ESMM and click-only training agree in every digit
  shown.
- **What neither sees nobody recovers**: with a hidden cause of clicks and conversions all of them
  are far off, IPS too.

What ESMM does give is elsewhere: unclicked impressions train the shared embeddings (an item that
was never clicked gets one), and `ctcvr = ctr * cvr` is coherent by construction. ESCM²'s doubly
robust loss moves the CVR tower exactly as IPS does; its imputation acts through shared layers
only, of which these models have none.

![truth and estimates in the four worlds]({plot})

`mean`: predicted mean over all impressions, with infinite data; `log loss`: over all impressions
as if each were clicked; `spread`: standard deviation of the mean over {seeds} logs of {rows:,}
impressions. Every model is a CTR and a CVR tower with logits linear in x, trained to convergence
with the losses of `training/losses.py`.
"""

_FOOT = """The claims are tests: `tests/training/truth/`.
"""
