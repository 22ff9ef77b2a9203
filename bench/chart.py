# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small SVG charts: bars with their spread, and lines over a size."""

import math
import statistics
from xml.sax.saxutils import escape

from figures import number, size_name

WIDTH = 760
COLOURS = ("#2a6f97", "#c8553d", "#588157", "#8d6a9f", "#b08900", "#444444", "#d17ba0", "#5fa8d3")
OURS = "#2a6f97"
OTHERS = "#a9b4bd"


def text(x, y, words, anchor="start", size=13, weight="normal", colour="#222"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{colour}">{escape(words)}</text>')


def document(height, title, note, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="sans-serif">\n<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' +
            "\n".join([text(16, 26, title, size=16, weight="bold"), text(16, 45, note, size=12, colour="#666")] + body) +
            "\n</svg>\n")


def bars(title, note, items):
    """items: (name, values, ours). The line across a bar's end goes from the lowest to the highest."""
    left, right, top, step = 190, 120, 62, 30
    most = max(max(values) for _, values, _ in items) or 1
    scale = (WIDTH - left - right) / most
    body = []
    for row, (name, values, ours) in enumerate(items):
        y = top + row * step
        middle = statistics.median(values)
        body.append(text(left - 10, y + 15, name, "end", weight="bold" if ours else "normal"))
        body.append(f'<rect x="{left}" y="{y}" width="{max(middle * scale, 1):.1f}" height="20" '
                    f'fill="{OURS if ours else OTHERS}"/>')
        low, high = left + min(values) * scale, left + max(values) * scale
        body.append(f'<path d="M{low:.1f} {y + 10}H{high:.1f}M{low:.1f} {y + 6}v8M{high:.1f} {y + 6}v8" '
                    'stroke="#222" fill="none"/>')
        body.append(text(max(high, left + middle * scale) + 8, y + 15, number(middle)))
    return document(top + len(items) * step + 12, title, note, body)


def lines(title, note, series):
    """series: name → {size: values}. Sizes go up by powers of two; medians with their spread."""
    left, right, top, height = 70, 190, 62, 300
    sizes = sorted({size for points in series.values() for size in points})
    most = max(max(values) for points in series.values() for values in points.values()) or 1
    unit = 10 ** math.floor(math.log10(most))
    most = math.ceil(most / unit) * unit
    span = math.log2(sizes[-1] / sizes[0]) or 1

    def x_of(size):
        return left + math.log2(size / sizes[0]) / span * (WIDTH - left - right)

    def y_of(value):
        return top + height - value / most * height

    body = []
    for tick in range(5):
        value = most * tick / 4
        body.append(f'<path d="M{left} {y_of(value):.1f}H{WIDTH - right}" stroke="#ddd"/>')
        body.append(text(left - 8, y_of(value) + 4, number(value), "end", 11))
    for size in sizes:
        body.append(text(x_of(size), top + height + 18, size_name(size), "middle", 11))
    order = sorted(series, key=lambda name: -statistics.median(series[name][max(series[name])]))
    for row, name in enumerate(order):
        colour = COLOURS[row % len(COLOURS)]
        points = {size: statistics.median(values) for size, values in sorted(series[name].items())}
        path = " ".join(f"{x_of(size):.1f},{y_of(value):.1f}" for size, value in points.items())
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for size, values in series[name].items():
            body.append(f'<path d="M{x_of(size):.1f} {y_of(min(values)):.1f}V{y_of(max(values)):.1f}" '
                        f'stroke="{colour}"/>')
            body.append(f'<circle cx="{x_of(size):.1f}" cy="{y_of(points[size]):.1f}" r="3" fill="{colour}"/>')
        y = top + 12 + row * 20
        body.append(f'<rect x="{WIDTH - right + 16}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        body.append(text(WIDTH - right + 34, y, name, size=12))
    return document(top + height + 34, title, note, body)
