"""Draws one received trace, as text and as an SVG.

    PYTHONPATH=tests/compose python3 -m checks.picture FILE.svg <the receiver's log

The picture is made from the spans that the receiver recorded, and only looks like Jaeger's page.
"""

import sys
from html import escape

from . import spans

COLOURS = {"veilpost-reader": "#17807e", "veilpost-masker": "#b5651d", "veilpost-writer": "#4b5fa8"}
ROW, LEFT, WIDTH = 24, 330, 960


def small_whole_trace(received):
    """One batch from the receive to the delete, with a rejection, in as few spans as there is."""
    names = {name for name, *_ in spans.TREE}
    whole = [trace for trace in spans.by_trace(received).values() if names <= {span.name for span in trace}]
    with_rejection = [trace for trace in whole if any(event["name"] == "rejected" for span in trace for event in span.events)]
    return min(with_rejection or whole, key=len)


def in_order(trace, root=None, depth=0):
    for span in sorted((span for span in trace if span.parent == (root.id if root else "")), key=lambda span: span.start):
        yield span, depth
        yield from in_order(trace, span, depth + 1)


def bar(row, span, depth, begin, scale):
    y = ROW * (row + 1)
    x, width = LEFT + (span.start - begin) * scale, max((span.end - span.start) * scale, 2)
    label = f"{(span.end - span.start) / 1e6:.1f} ms"
    rejected = sum(event["name"] == "rejected" for event in span.events)
    label += f", {rejected} rejected" if rejected else ""
    label += f", {len(span.links)} link{'s' * (len(span.links) > 1)}" if span.links else ""
    inside = x + width > LEFT + (WIDTH - LEFT) * 0.75
    anchor = f'x="{x - 6:.1f}" text-anchor="end"' if inside else f'x="{x + width + 6:.1f}"'
    return [
        f'<text x="{12 + 14 * depth}" y="{y + 16}">{escape(span.name)}</text>',
        f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="16" rx="2" fill="{COLOURS[span.service]}"/>',
        f'<text {anchor} y="{y + 16}" fill="#555">{escape(label)}</text>',
    ]


def svg(trace):
    begin, end = min(span.start for span in trace), max(span.end for span in trace)
    scale = (WIDTH - LEFT - 20) / (end - begin)
    rows = list(in_order(trace))
    lines = [f'<text x="{12 + 150 * n}" y="16" fill="{colour}" font-weight="bold">{service}</text>' for n, (service, colour) in enumerate(COLOURS.items())]
    for row, (span, depth) in enumerate(rows):
        lines += bar(row, span, depth, begin, scale)
    height = ROW * (len(rows) + 1) + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', *lines, "</svg>", ""])


def main():
    trace = small_whole_trace(spans.parse(sys.stdin.read()))
    print(*spans.drawn(trace, next(span for span in trace if not span.parent)), sep="\n")
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(svg(trace))


if __name__ == "__main__":
    main()
