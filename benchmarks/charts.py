"""Bar charts as SVG: the same figures give the same bytes, and the colours can be read on white and on black."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from measuring import figure

_TEXT = "#767676"  # the grey that has the same contrast to white as to black
_OURS, _OTHERS = "#0d9488", "#8b95a5"
_PLOT, _RIGHT, _BAR, _GAP, _TOP = 500, 70, 13, 9, 56
_LETTER = 6.8  # the mean width of one in the widest of the usual fonts, at the size of a label


def bars(
    title: str, axis: str, rows: Mapping[str, Sequence[float]], series: Sequence[str], *, highlighted: Sequence[str]
) -> str:
    """Return a chart of horizontal bars over a logarithmic axis.

    Args:
        title: What it shows.
        axis: What the values are, with their unit.
        rows: One or two values for each label; 0 draws no bar.
        series: The names of the values.
        highlighted: The labels that are drawn in the other colour.
    """
    values = [value for row in rows.values() for value in row if value > 0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    high = max(high, low * 10)
    left = round(20 + _LETTER * max(map(len, rows)))
    width = left + _PLOT + _RIGHT
    heights = [_BAR * len(row) + _GAP for row in rows.values()]
    bottom = _TOP + sum(heights)

    def across(value: float) -> float:
        return left + _PLOT * math.log10(value / low) / math.log10(high / low)

    parts = [_text(left, 20, title, size=15, weight="600")]
    parts += _legend(series, left) if len(series) > 1 else []
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        place = across(10.0**power)
        parts.append(f'<path d="M{place:.1f} {_TOP - 4}V{bottom}" stroke="{_TEXT}" stroke-opacity="0.3"/>')
        parts.append(_text(place, bottom + 16, f"{10.0**power:,g}", anchor="middle"))
    parts.append(_text(left + _PLOT / 2, bottom + 36, f"{axis} (logarithmic)", anchor="middle"))
    top = float(_TOP)
    for (label, row), height in zip(rows.items(), heights, strict=True):
        parts.append(_text(left - 10, top + (height - _GAP) / 2 + 4, label, anchor="end"))
        for number, value in enumerate(row):
            if value > 0:
                place = (left, across(value), top + number * _BAR)
                parts.append(_bar(place, value, label in highlighted, faint=number > 0))
        top += height
    size = f'viewBox="0 0 {width} {bottom + 46}" width="{width}" height="{bottom + 46}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="system-ui, sans-serif">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>", ""])


def _bar(place: tuple[float, float, float], value: float, is_highlighted: bool, *, faint: bool) -> str:
    left, right, top = place
    colour = _OURS if is_highlighted else _OTHERS
    opacity = ' opacity="0.6"' if faint else ""
    shape = f'<rect x="{left}" y="{top:.1f}" width="{max(right - left, 1):.1f}" height="{_BAR - 2}"'
    return f'{shape} fill="{colour}"{opacity}/>' + _text(max(right, left) + 5, top + _BAR - 3, figure(value), size=11)


def _legend(series: Sequence[str], begin: int) -> list[str]:
    parts = []
    for number, name in enumerate(series):
        left = begin + 130 * number
        opacity = ' opacity="0.6"' if number else ""
        parts.append(f'<rect x="{left}" y="33" width="11" height="11" fill="{_OTHERS}"{opacity}/>')
        parts.append(_text(left + 17, 43, name))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400") -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{_TEXT}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
