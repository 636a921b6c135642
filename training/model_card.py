"""MODEL_CARD.md: data, metrics by head and sample space, calibration and limits, for people."""

from collections.abc import Iterable, Mapping

from service.contract.heads import Head
from service.contract.manifest import Manifest
from training.scores import metrics_grid


def model_card(manifest: Manifest, *, validate: str, refit: bool) -> str:
    """The card of a package.

    Args:
        validate: the validation days, as configured.
        refit: whether the weights have since been trained on the validation days too.
    """
    training, schema = manifest.training, manifest.schema_
    first, last = training.data_days or (0, 0)
    lines = [
        f"# {manifest.id}",
        "",
        f"Trained on {training.rows:,} impressions of {first} to {last},"
        f" measured on {validate}{' before the refit on all days' if refit else ''}.",
        "",
        "| head | meaning | sample space | range |",
        "| --- | --- | --- | --- |",
    ]
    for head in manifest.heads:
        meaning = head.meaning.replace("|", "\\|")
        low, high = head.range
        lines.append(f"| `{head.name}` | {meaning} | {head.sample_space} | {low:g} to {high:g} |")
    lines += [
        "",
        "## Metrics",
        "",
        *metrics_table(training.metrics),
        *_calibrations(manifest.heads),
    ]
    lines += [
        "",
        "`ratio` is predicted over observed: 1 is calibrated in the large. `auc` and `gauc`",
        "(inside users) are comparable only within one sample space.",
        "",
        "## Limits",
        "",
        f"- {len(schema.features)} features; what a request leaves out takes its declared default.",
        "- Values unseen in training share one embedding (out of vocabulary).",
        "- Outcomes were observed under the policy that showed the items; no correction",
        "  is made for what that policy never showed.",
        f"- Numbers equal PyTorch's within {manifest.parity.tolerance:g}"
        f" (measured {max(manifest.parity.max_abs_difference.values()):.1g}).",
    ]
    if schema.attributes:
        lines += ["", "| attribute | unit | default | observed |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{a.name}` | {a.unit or ''} | {a.default:g} | {a.min:g} to {a.max:g} |"
            for a in schema.attributes
        ]
    return "\n".join(lines) + "\n"


def _calibrations(heads: Iterable[Head]) -> list[str]:
    calibrated = [(h.name, h.calibration) for h in heads if h.calibration is not None]
    if not calibrated:
        return []
    lines = [
        "",
        "Predicted over observed on the validation days, by the ranker that had not seen them;",
        "the metrics above are those before calibration. After: every other row, by what was",
        "fitted on the rest.",
        "",
        "| head | calibration | rows | before | after |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, fitted in calibrated:
        before, after = (
            "" if ratio is None else f"{ratio:.4f}" for ratio in (fitted.before, fitted.after)
        )
        lines.append(f"| `{name}` | {fitted.method} | {fitted.rows:,} | {before} | {after} |")
    return lines


def metrics_table(metrics: Mapping[str, float]) -> list[str]:
    """Markdown: one row a head and sample space, one column a metric."""
    columns, rows = metrics_grid(metrics)
    lines = [f"| head | rows | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for (head, space), values in rows.items():
        cells = [f"{values[c]:.4f}" if c in values else "" for c in columns]
        lines.append(f"| `{head}` | {space} | {' | '.join(cells)} |")
    return lines
