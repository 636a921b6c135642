"""The figures of a report. Each takes what several runs say by run name; one run is one line."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from training.report.canvas import GREY, colour, drawing, marker
from training.report.document import Conflict, Curve, HeadCurves, Mixture
from training.report.page import Figure

Runs = Mapping[str, Mapping[str, HeadCurves]]  # run -> head -> its curves


def roc_plot(runs: Runs) -> Figure | None:
    """One panel a binary head."""
    heads = _heads(runs, lambda curves: curves.roc is not None)
    if not heads:
        return None
    with drawing(len(heads), height=3.1) as drawn:
        for axes, head in zip(drawn.panels, heads, strict=True):
            axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
            for at, (run, curves) in enumerate(runs.items()):
                if head in curves and (roc := curves[head].roc):
                    axes.plot(roc.false, roc.true, color=colour(at), label=run)
            axes.set(
                title=_on(head, runs), xlabel="false positive rate", ylabel="true positive rate"
            )
            axes.set_aspect("equal")
        _legend(drawn.panels[0], runs)
    return Figure("roc", drawn.svg, f"ROC curves of {_listed(heads)}", "The dotted line is chance.")


def reliability_plot(runs: Runs) -> Figure | None:
    """One panel a head: mean label against mean prediction, by decile of the prediction."""
    heads = _heads(runs, lambda curves: True)
    if not heads:
        return None
    with drawing(len(heads), height=3.1) as drawn:
        for axes, head in zip(drawn.panels, heads, strict=True):
            top = 0.0
            for at, (run, curves) in enumerate(runs.items()):
                if head not in curves:
                    continue
                bins = curves[head].reliability
                top = max(top, *bins.predicted, *bins.observed)
                style = {"color": colour(at), "marker": marker(at), "label": run}
                axes.plot(bins.predicted, bins.observed, **style)
            axes.plot([0, top], [0, top], color=GREY, linestyle=":", linewidth=1)
            axes.set(title=_on(head, runs), xlabel="predicted", ylabel="observed")
            axes.set_aspect("equal")
        _legend(drawn.panels[0], runs)
    says = (
        "A point is a tenth of the rows by prediction; above the dotted line the head predicts too"
        " little, below it too much."
    )
    return Figure("reliability", drawn.svg, f"Reliability of {_listed(heads)} by decile", says)


def history_plot(
    name: str, runs: Mapping[str, Mapping[str, Curve]], *, best: Mapping[str, int], says: str
) -> Figure | None:
    """One panel a task or metric, over epochs; a vertical line marks the epoch that was kept."""
    curves = list(dict.fromkeys(what for of in runs.values() for what in of))
    if not curves:
        return None
    with drawing(len(curves), height=2.3) as drawn:
        for axes, what in zip(drawn.panels, curves, strict=True):
            for at, (run, of) in enumerate(runs.items()):
                if what not in of:
                    continue
                dots = marker(at) if len(of[what].epochs) <= 30 else None
                axes.plot(
                    of[what].epochs, of[what].values, color=colour(at), marker=dots, label=run
                )
                if best.get(run):
                    axes.axvline(best[run], color=colour(at), linestyle=":", linewidth=1)
            axes.set(title=what, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(drawn.panels[0], runs)
    return Figure(
        name,
        drawn.svg,
        f"{says} of {_listed(curves)} by epoch",
        f"{says}; the dotted line is the epoch that was kept.",
    )


def utilisation_plot(level: str, tasks: Mapping[str, Mixture]) -> Figure:
    """Bars: mean weight of each expert in each task's mixture; whiskers: one deviation."""
    experts = list(dict.fromkeys(e for mixture in tasks.values() for e in mixture.experts))
    width = 0.8 / len(tasks)
    with drawing(width=max(4.5, 0.35 * len(experts) * len(tasks)), height=2.8) as drawn:
        axes = drawn.panels[0]
        for at, (task, mixture) in enumerate(tasks.items()):
            where = [
                experts.index(e) + (at - (len(tasks) - 1) / 2) * width for e in mixture.experts
            ]
            low = [min(m, d) for m, d in zip(mixture.mean, mixture.deviation, strict=True)]
            whiskers = {"elinewidth": 1, "ecolor": "#444444"}
            axes.bar(
                where,
                mixture.mean,
                width * 0.92,
                color=colour(at),
                label=task,
                yerr=[low, mixture.deviation],
                error_kw=whiskers,
            )
        axes.set_xticks(range(len(experts)), experts)
        axes.set(title=level, ylabel="weight")
        axes.grid(axis="x", visible=False)
        axes.legend(ncols=min(len(tasks), 6), loc="upper left", bbox_to_anchor=(0, 1.25))
    name = f"utilisation-{''.join(c if c.isalnum() else '-' for c in level)}"
    says = "Mean weight of each expert in a task's mixture over the rows; whiskers: one deviation."
    return Figure(name, drawn.svg, f"Expert utilisation, {level}: {_listed(list(tasks))}", says)


def conflict_plot(part: str, conflicts: Sequence[Conflict]) -> Figure:
    """A square of cosines by pair of tasks."""
    tasks = list(dict.fromkeys(t for c in conflicts for t in c.tasks))
    square = np.full((len(tasks), len(tasks)), np.nan)
    for c in conflicts:
        one, other = (tasks.index(t) for t in c.tasks)
        square[one, other] = square[other, one] = c.cosine
    with drawing(width=1.6 + 0.6 * len(tasks), height=1.0 + 0.5 * len(tasks)) as drawn:
        axes = drawn.panels[0]
        # Purple to orange, not red to green.
        axes.pcolormesh(square, cmap="PuOr_r", vmin=-1, vmax=1)
        axes.invert_yaxis()
        for (row, column), value in np.ndenumerate(square):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.6 else "black"
                axes.text(
                    column + 0.5, row + 0.5, f"{value:+.2f}", ha="center", va="center", color=ink
                )
        middles = np.arange(len(tasks)) + 0.5
        axes.set_xticks(middles, tasks, rotation=30, ha="right")
        axes.set_yticks(middles, tasks)
        axes.set(title=part)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return Figure(
        f"conflict-{part}",
        drawn.svg,
        f"Cosines of the tasks' gradients on the {part}",
        f"Mean cosine of two tasks' gradients on the {part}'s weights that both reach.",
    )


def _heads(runs: Runs, wanted: Callable[[HeadCurves], bool]) -> list[str]:
    every = [(h, c) for curves in runs.values() for h, c in curves.items()]
    return list(dict.fromkeys(head for head, curves in every if wanted(curves)))


def _on(head: str, runs: Runs) -> str:
    spaces = {curves[head].space for curves in runs.values() if head in curves}
    return f"{head} [{', '.join(sorted(spaces))}]"


def _legend(axes: Axes, runs: Mapping[str, object]) -> None:
    if len(runs) > 1:
        axes.legend(fontsize=8)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
