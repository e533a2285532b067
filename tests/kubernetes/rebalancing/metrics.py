"""What a replica says of its work, and whether it has its share of it."""

import re
import time

from .waiting import within

ADMIN = {"reader": 9101, "masker": 9102, "writer": 9103}

# What a replica has handled, by its own count.
HANDLED = {
    "reader": "veilpost_reader_deliveries_total",
    "masker": "veilpost_masker_masked_records_total",
    "writer": "veilpost_writer_records_total",
}


def total(text, name):
    """The sum of a metric over its labels."""
    return sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)))


def takes_its_share(replica, fellows, seconds):
    """Waits until it handles at least half of an equal share; returns how many seconds that took."""
    handled = lambda: {fellow.name: fellow.handled() for fellow in fellows}
    before = handled()
    moved = {}

    def has_share():
        nonlocal before, moved
        time.sleep(0.8)
        now = handled()
        moved = {name: now[name] - before[name] for name in now}
        before = now
        return moved[replica.name] >= 0.5 * sum(moved.values()) / len(moved) and moved[replica.name] > 0

    try:
        return within(seconds, f"{replica.name} has its share", has_share)
    except AssertionError as late:
        raise AssertionError(f"{late}; at last they handled {moved}") from None
