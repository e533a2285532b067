"""Spans as the receiver wrote them down, and what they must be."""

import re
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Span:
    service: str
    trace: str = ""
    id: str = ""
    parent: str = ""
    name: str = ""
    kind: str = ""
    start: int = 0
    end: int = 0
    links: list = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    events: list = field(default_factory=list)


FIELDS = {"Trace ID": "trace", "Parent ID": "parent", "ID": "id", "Name": "name", "Kind": "kind"}
TIMES = {"Start time": "start", "End time": "end"}


def parse(text):
    """The receiver's detailed log is lines of names and values, under headings."""
    spans, service, span, part = [], "", None, ""
    for line in text.splitlines():
        named = re.match(r"\s*(?:-> )?([\w .]+?)\s*: ?(.*)$", line)
        if line.startswith("ResourceSpans #"):
            span, part = None, "resource"
        elif line.startswith("Span #"):
            span, part = Span(service), "span"
            spans.append(span)
        elif line.startswith("SpanLink #"):
            part = "link"
        elif line.startswith("SpanEvent #"):
            part = "event"
        elif line.startswith("Attributes:"):
            part = "attributes"
        elif line.startswith(("Events:", "Links:")):
            part = ""
        elif part == "resource" and named and named[1] == "service.name":
            service = value(named[2])
        elif not span or not named:
            continue
        elif part == "span" and named[1] in FIELDS:
            setattr(span, FIELDS[named[1]], named[2].removeprefix("SPAN_KIND_"))
        elif part == "span" and named[1] in TIMES:
            setattr(span, TIMES[named[1]], int(named[2]))
        elif part == "link" and named[1] == "ID":
            span.links.append(named[2])
        elif part == "event" and named[1] == "Name":
            span.events.append({"name": named[2]})
        elif part == "event":
            span.events[-1][named[1]] = value(named[2])
        elif part == "attributes":
            span.attributes[named[1]] = value(named[2])
    return spans


def value(text):
    found = re.match(r"\w+\((.*)\)$", text)
    return found[1] if found else text


# A span, its service and kind, and what it is a child of.
TREE = [
    ("receive user-logins", "veilpost-reader", "CLIENT", None),
    ("process user-logins", "veilpost-reader", "CONSUMER", "receive user-logins"),
    ("veilpost.v1.Masker/Mask", "veilpost-masker", "SERVER", "process user-logins"),
    ("veilpost.v1.Writer/Write", "veilpost-writer", "SERVER", "veilpost.v1.Masker/Mask"),
    ("INSERT public.user_logins", "veilpost-writer", "CLIENT", "veilpost.v1.Writer/Write"),
    ("delete user-logins", "veilpost-reader", "CLIENT", "process user-logins"),
]
# Not in every trace.
DEAD_LETTER = ("send user-logins-dead-letter", "veilpost-reader", "CLIENT", "process user-logins")


def check_tree(spans):
    """Every span is of its service and kind, and under its parent; some trace has all of them."""
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans) > 0, "no spans, or spans with the same id"
    unknown = Counter(span.name for span in spans) - Counter({name: len(spans) for name, *_ in [*TREE, DEAD_LETTER]})
    assert not unknown, f"spans that nobody knows: {unknown}"
    for name, service, kind, parent in [*TREE, DEAD_LETTER]:
        found = [span for span in spans if span.name == name]
        assert found, f"no span is named {name}: {Counter(span.name for span in spans)}"
        for span in found:
            assert span.service == service, f"{name} is of {span.service}"
            assert span.kind == kind, f"{name} is {span.kind}"
            if parent is None:
                assert not span.parent, f"{name} has a parent"
            else:
                above = by_id.get(span.parent)
                assert above and (above.name, above.trace) == (parent, span.trace), f"{name} is under {above and above.name}"
                assert span.start >= above.start, f"{name} begins before {parent}"
                # A batch is made when its receive is over.
                assert span.end <= above.end or span.kind == "CONSUMER", f"{name} ends after {parent}"
    whole = [trace for trace, found in by_trace(spans).items() if {name for name, *_ in TREE} <= {span.name for span in found}]
    assert whole, "no trace leads from the receive to the commit and the delete"


def check_content(spans, producer):
    """Attributes, the link to a producer, and rejections with message id and reason."""
    of = lambda name: [span for span in spans if span.name == name]
    processed = of("process user-logins")
    assert any(producer in span.links for span in processed), "no batch is linked to the producer of its messages"
    for span in [*of("receive user-logins"), *processed, *of("delete user-logins")]:
        assert span.attributes["messaging.system"] == "aws_sqs" and int(span.attributes["messaging.batch.message_count"]) > 0
    assert all(span.attributes["db.system.name"] == "postgresql" for span in of("INSERT public.user_logins"))
    assert all(span.attributes["rpc.system.name"] == "grpc" for span in spans if span.kind == "SERVER")
    rejections = [(span.service, event) for span in spans for event in span.events if event["name"] == "rejected"]
    assert {service for service, _ in rejections} >= {"veilpost-reader", "veilpost-masker"}, "rejections are no events"
    for _, event in rejections:
        assert re.fullmatch("[a-z-]+", event["veilpost.reason"]), event
        assert re.fullmatch("[0-9a-f-]{36}", event["messaging.message.id"]), event


def check_links(spans):
    """Under load batches share receives, commits and deletes: each is linked with all its batches."""
    by_id = {span.id: span for span in spans}
    for name, batches in [
        ("receive user-logins", "process user-logins"),
        ("delete user-logins", "process user-logins"),
        ("INSERT public.user_logins", "veilpost.v1.Writer/Write"),
    ]:
        pairs = [
            (span, by_id[link]) for span in spans if span.name == name for link in span.links
            if link in by_id and by_id[link].name == batches
        ]
        assert pairs, f"no {name} is linked with a further {batches}"
        assert all(span.id in batch.links for span, batch in pairs), f"{batches} does not lead back to {name}"


def by_trace(spans):
    traces = {}
    for span in spans:
        traces.setdefault(span.trace, []).append(span)
    return traces


def small_whole_trace(received):
    """One batch from the receive to the delete, with a rejection, in as few spans as there is."""
    names = {name for name, *_ in TREE}
    whole = [trace for trace in by_trace(received).values() if names <= {span.name for span in trace}]
    with_rejection = [
        trace for trace in whole if any(event["name"] == "rejected" for span in trace for event in span.events)
    ]
    return min(with_rejection or whole, key=len)


def drawn(spans, root, depth=0):
    """A trace as lines of text, by start."""
    milliseconds = (root.end - root.start) / 1e6
    notes = [f"links {len(root.links)}"] if root.links else []
    notes += [f"{name} {count}" for name, count in Counter(event["name"] for event in root.events).items()]
    lines = [f"{'  ' * depth + root.name:38} {root.service:16} {root.kind:9} {milliseconds:8.1f} ms  {', '.join(notes)}".rstrip()]
    for child in sorted((span for span in spans if span.parent == root.id), key=lambda span: span.start):
        lines += drawn(spans, child, depth + 1)
    return lines
