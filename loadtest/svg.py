"""Two plots as plain SVG text: lines over an axis, and bars. Needs no plotting library."""

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 40, 55
_BAR_HEIGHT, _BAR_LABEL = 26, 210
_COLOURS = ("#1b6ca8", "#c8553d", "#4f772d", "#7b4b94", "#b08900", "#2a9d8f", "#555555")
_STEPS = (1, 2, 2.5, 5, 10)


def line_plot(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    limit: tuple[str, float] | None = None,
) -> str:
    """Lines through points (x, y); both axes start at 0. `limit` is a named dashed level."""
    points = [point for line in lines.values() for point in line]
    top = max([y for _, y in points] + ([limit[1]] if limit else []), default=1.0)
    x_ticks, y_ticks = _ticks(max((x for x, _ in points), default=1.0)), _ticks(top)
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + across * x / x_ticks[-1], _TOP + up * (1 - y / y_ticks[-1])

    parts = [_text(_LEFT, 22, title, size=15)]
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(_line(_LEFT, y, _LEFT + across, y, "#dddddd"))
        parts.append(_text(_LEFT - 8, y + 4, f"{tick:g}", anchor="end"))
    for tick in x_ticks:
        x, y = place(tick, 0)
        parts.append(_text(x, y + 18, f"{tick:g}", anchor="middle"))
    parts.append(_text(_LEFT + across / 2, _HEIGHT - 12, x_label, anchor="middle"))
    parts.append(_text(12, _TOP - 8, y_label))
    if limit is not None:
        x, y = place(x_ticks[-1], limit[1])
        parts.append(_line(_LEFT, y, x, y, "#aa0000", dashes="6 4"))
        parts.append(_text(x + 8, y + 4, limit[0], colour="#aa0000"))
    for at, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        placed = [place(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(_text(_WIDTH - _RIGHT + 24, _TOP + 40 + 20 * at, name, colour=colour))
    return _document(_HEIGHT, parts)


def bar_plot(title: str, bars: Mapping[str, tuple[float, float, float]], unit: str) -> str:
    """Horizontal bars: name -> (length, and the lowest and highest round as a whisker)."""
    longest = max((high for _, _, high in bars.values()), default=1.0) or 1.0
    across = _WIDTH - _BAR_LABEL - 110
    parts = [_text(12, 22, f"{title} ({unit})", size=15)]
    for at, (name, (length, low, high)) in enumerate(bars.items()):
        y = _TOP + at * _BAR_HEIGHT
        wide, middle = across * length / longest, y + _BAR_HEIGHT / 2
        parts.append(_text(_BAR_LABEL - 8, middle + 4, name, anchor="end"))
        parts.append(
            f'<rect x="{_BAR_LABEL}" y="{y + 4}" width="{wide:.1f}" height="{_BAR_HEIGHT - 8}"'
            f' fill="{_COLOURS[at % len(_COLOURS)]}"/>'
        )
        start, end = (_BAR_LABEL + across * value / longest for value in (low, high))
        parts.append(_line(start, middle, end, middle, "#000000"))
        parts.append(_text(max(_BAR_LABEL + wide, end) + 8, middle + 4, f"{length:.1f}"))
    return _document(_TOP + len(bars) * _BAR_HEIGHT + 12, parts)


def _ticks(top: float) -> list[float]:
    """0 and up to six round numbers, the last of them not below `top`."""
    magnitude = 1e-9
    while magnitude * 60 < top:
        magnitude *= 10
    step = next(s * magnitude for s in _STEPS if s * magnitude * 6 >= top)
    count = 1
    while step * count < top:
        count += 1
    return [round(step * n, 12) for n in range(count + 1)]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' fill="{colour}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'
    )


def _document(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}"'
        ' font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
