"""The seesaw study as one plot: each trunk's two AUCs, joined over the weightings of the tasks."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from training.report.canvas import colour, drawing, marker

_CORNER = (0.9, 0.945)


def seesaw_plot(lines: Path) -> str:
    """SVG from the study's lines; runs are named `TRUNK WEIGHT:WEIGHT`."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for text in lines.read_text().splitlines():
        line = json.loads(text)
        trunk, _, weights = line["run"].rpartition(" ")
        metrics = line["metrics"]
        pair = (metrics["a.auc[impression]"], metrics["b.auc[impression]"])
        points[trunk][weights].append(pair)
    with drawing(2, columns=2, width=4.4, height=4.0) as drawn:
        whole, corner = drawn.panels
        for axes in drawn.panels:
            for at, (trunk, by_weights) in enumerate(points.items()):
                means = np.array([np.mean(pairs, axis=0) for pairs in by_weights.values()])
                errors = np.array([_errors(pairs) for pairs in by_weights.values()])
                axes.errorbar(
                    *means.T,
                    xerr=errors[:, 0],
                    yerr=errors[:, 1],
                    color=colour(at),
                    marker=marker(at),
                    elinewidth=0.6,
                    label=trunk,
                )
                if at == 0 and axes is whole:
                    for weights, mean in zip(by_weights, means, strict=True):
                        axes.annotate(weights, mean, xytext=(4, 6), textcoords="offset points")
            axes.set(xlabel="AUC of task a", ylabel="AUC of task b")
        whole.set_title("all (labels: weights a:b)")
        corner.set(title="its upper right corner", xlim=_CORNER, ylim=_CORNER)
        whole.legend(loc="lower left")
    return drawn.svg


def _errors(pairs: list[tuple[float, float]]) -> np.ndarray:
    """Standard errors of the two means over seeds."""
    if len(pairs) == 1:
        return np.zeros(2)
    return np.std(pairs, axis=0, ddof=1) / np.sqrt(len(pairs))
