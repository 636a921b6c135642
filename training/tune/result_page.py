"""The page of a search: what was found, the Pareto front, what other lists and propensities say."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from training.report.canvas import COLOURS, GREY, drawing
from training.report.page import Block, Figure, Page, Section, Table, Text
from training.tune.lists import Lists
from training.tune.off_policy import SHOWN_ONLY, UNLOGGED, doubly_robust, snips
from training.tune.search import Found, Search, Trial

_ON_FRONT = 25  # rows of the table


def result_page(search: Search, found: Found, held_out: Lists) -> Page:
    """What `finerank tune` shows; `held_out` are lists of users the search did not see."""
    name = f"{search.formula.name!r} of scene {search.formula.plan.scene!r}"
    return Page(
        f"Params of formula {name}",
        [
            Section("Found", [params_table(search, found), _said(search, found)]),
            Section("On the lists of the search", [front_table(search, found)]),
            Section("On lists of other users", _elsewhere(search, found, held_out)),
            Section("Pareto front", pareto_plots(search, found)),
            Section("Under the formula, by propensity", off_policy_blocks(search, found, held_out)),
        ],
    )


def params_table(search: Search, found: Found) -> Table:
    rows = [
        [
            name,
            f"{found.control.params[name]:.4g}",
            f"{value:.4g}",
            f"{param.min:g} to {param.max:g}",
        ]
        for name, value in found.chosen.params.items()
        for param in (search.formula.text.params[name],)
    ]
    return Table(["param", "control", "chosen", "bounds"], rows)


def front_table(search: Search, found: Found) -> Table:
    """The control, the front, the chosen one marked."""
    head = ["trial", *(o.text for o in search.objectives)]
    head += [b.text for b in search.bounds] + list(found.chosen.params)
    rows = [_row("control", found.control)]
    shown = found.front[:_ON_FRONT]
    if found.chosen in found.front[_ON_FRONT:]:
        shown = (*shown, found.chosen)
    for trial in shown:
        mark = " (chosen)" if trial.number == found.chosen.number else ""
        rows.append(_row(f"{trial.number}{mark}", trial))
    return Table(head, rows)


def pareto_plots(search: Search, found: Found) -> list[Block]:
    """Every two objectives against each other; one objective by trial."""
    pairs = list(combinations(range(len(search.objectives)), 2))
    if not pairs:
        return [_progress(search, found)]
    with drawing(len(pairs), width=4.4, height=3.6) as drawn:
        for axes, (one, other) in zip(drawn.panels, pairs, strict=True):
            kept = [t for t in found.trials if t.feasible]
            broken = [t for t in found.trials if not t.feasible]
            for trials, style in (
                (broken, {"color": GREY, "marker": "x", "label": "breaks a bound"}),
                (kept, {"color": COLOURS[5], "marker": "o", "label": "tried"}),
                (found.front, {"color": COLOURS[0], "marker": "D", "label": "Pareto front"}),
                ([found.control], {"color": COLOURS[6], "marker": "*", "label": "control"}),
                ([found.chosen], {"color": COLOURS[1], "marker": "s", "label": "chosen"}),
            ):
                large = len(trials) == 1
                if trials:
                    x, y = (_objective(trials, at) for at in (one, other))
                    axes.scatter(x, y, s=60 if large else 14, zorder=3 if large else 2, **style)
            axes.set(xlabel=search.objectives[one].text, ylabel=search.objectives[other].text)
        drawn.panels[0].legend(fontsize=8)
    alt = f"Trials by {', '.join(o.text for o in search.objectives)} with their Pareto front"
    return [Figure("pareto", drawn.svg, alt, "Further right and higher is better.")]


def off_policy_blocks(search: Search, found: Found, lists: Lists) -> list[Block]:
    """SNIPS and DR of every NAME@K, or why there are none."""
    if lists.propensity is None:
        return [Text(UNLOGGED, warning=True)]
    wanted = [o for o in (*search.objectives, *(b.objective for b in search.bounds)) if o.of_top]
    if not wanted:
        return [Text("No objective is of the form NAME@K: there is nothing to estimate.")]
    complete = not lists.shown.all()
    estimators = {"SNIPS": snips, "DR": doubly_robust} if complete else {"SNIPS": snips}
    rows = []
    for objective in dict.fromkeys(wanted):
        for who, trial in (("control", found.control), ("chosen", found.chosen)):
            scores = search.scores(trial.params, lists)
            for estimator, estimate in estimators.items():
                told = estimate(lists, scores, lists.column(objective.of), objective.depth)
                cells = ["", "", "0"]
                if told is not None:
                    cells = [
                        f"{told.value:.4f}",
                        f"{told.error:.4f}",
                        f"{told.effective_rows:,.0f}",
                    ]
                rows.append([f"{objective.text}, {who}", estimator, *cells])
    head = ["what", "estimator", "a place", "standard error", "effective rows"]
    return [Table(head, rows), *([] if complete else [Text(SHOWN_ONLY, warning=True)])]


def _elsewhere(search: Search, found: Found, held_out: Lists) -> list[Block]:
    if not held_out.rows:
        return [Text("No users were held out: the figures above flatter what was chosen.")]
    said = (
        f"{held_out.count:,} lists of users that the search did not see. A gain that is not here"
        " was luck."
    )
    head = ["trial", *(o.text for o in search.objectives), *(b.text for b in search.bounds)]
    rows = [
        _row(who, search.measure(trial, held_out))[: len(head)]
        for who, trial in (("control", found.control), ("chosen", found.chosen))
    ]
    return [Text(said), Table(head, rows)]


def _said(search: Search, found: Found) -> Text:
    deepest = max((o.depth or 0 for o in search.objectives), default=0)
    lists = search.lists
    kept = sum(t.feasible for t in found.trials)
    said = (
        f"{len(found.trials):,} trials on {lists.rows:,} rows in {lists.count:,} lists; {kept:,}"
        " keep every bound. Chosen: on the front, the largest smallest gain over the control."
    )
    if deepest:
        longer = (np.bincount(lists.of_list) > deepest).mean()
        said += f" {longer:.0%} of the lists are longer than {deepest}; the others decide nothing."
    return Text(said)


def _progress(search: Search, found: Found) -> Figure:
    with drawing(width=5.5, height=2.8) as drawn:
        axes = drawn.panels[0]
        for trials, style in (
            ([t for t in found.trials if not t.feasible], {"color": GREY, "marker": "x"}),
            ([t for t in found.trials if t.feasible], {"color": COLOURS[0], "marker": "o"}),
            ([found.chosen], {"color": COLOURS[1], "marker": "s"}),
        ):
            axes.scatter([t.number for t in trials], _objective(trials, 0), s=16, **style)
        axes.axhline(found.control.objectives[0], color=GREY, linestyle=":", linewidth=1)
        axes.set(xlabel="trial", ylabel=search.objectives[0].text)
    alt = f"{search.objectives[0].text} by trial"
    return Figure(
        "trials", drawn.svg, alt, "Dotted: the control. Square: chosen. Cross: breaks a bound."
    )


def _objective(trials: Sequence[Trial], at: int) -> list[float]:
    return [t.objectives[at] for t in trials]


def _row(name: str, trial: Trial) -> list[str]:
    figures = [f"{value:.4f}" for value in (*trial.objectives, *trial.bounds)]
    return [name, *figures, *(f"{value:.4g}" for value in trial.params.values())]
