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
    links: list = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    events: list = field(default_factory=list)


FIELDS = {"Trace ID": "trace", "Parent ID": "parent", "ID": "id", "Name": "name", "Kind": "kind"}


def parse(text):
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
            setattr(span, FIELDS[named[1]], named[2])
        elif part == "link" and named[1] == "ID":
            span.links.append(named[2])
        elif part == "event" and named[1] == "Name":
            span.events.append(named[2])
        elif part == "attributes":
            span.attributes[named[1]] = value(named[2])
    return spans


def value(text):
    found = re.match(r"\w+\((.*)\)$", text)
    return found[1] if found else text


# Child, its service and kind, and what it is a child of.
TREE = [
    ("receive user-logins", "veilpost-reader", "CLIENT", None),
    ("process user-logins", "veilpost-reader", "CONSUMER", "receive user-logins"),
    ("veilpost.v1.Masker/Mask", "veilpost-masker", "SERVER", "process user-logins"),
    ("veilpost.v1.Writer/Write", "veilpost-writer", "SERVER", "veilpost.v1.Masker/Mask"),
    ("INSERT public.user_logins", "veilpost-writer", "CLIENT", "veilpost.v1.Writer/Write"),
    ("delete user-logins", "veilpost-reader", "CLIENT", "process user-logins"),
]


def check(spans, producer):
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans) > 0, "no spans, or spans with the same id"
    for name, service, kind, parent in TREE:
        found = [span for span in spans if span.name == name]
        assert found, f"no span is named {name}: {Counter(span.name for span in spans)}"
        for span in found:
            assert span.service == service, f"{name} is of {span.service}"
            assert span.kind == f"SPAN_KIND_{kind}", f"{name} is {span.kind}"
            if parent is None:
                assert not span.parent, f"{name} has a parent"
            elif span.parent in by_id:
                above = by_id[span.parent]
                assert (above.name, above.trace) == (parent, span.trace), f"{name} is under {above.name}"
    whole = [trace for trace, names in names_by_trace(spans).items() if {name for name, *_ in TREE} <= names]
    assert whole, "no trace leads from the receive to the commit and the delete"
    rejected = [span for span in spans if "rejected" in span.events]
    assert {span.service for span in rejected} >= {"veilpost-reader", "veilpost-masker"}, "rejections are no events"
    processed = [span for span in spans if span.name == "process user-logins"]
    assert any(producer in span.links for span in processed), "no batch is linked to the producer of its messages"
    assert all(span.attributes.get("messaging.system") == "aws_sqs" for span in processed)


def names_by_trace(spans):
    names = {}
    for span in spans:
        names.setdefault(span.trace, set()).add(span.name)
    return names
