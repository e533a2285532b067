"""Waiting for something with a bound, and telling how long it took."""

import time


def within(seconds, what, condition):
    """Waits until `condition` holds, and returns how many seconds that took; a missing thing never does."""
    started = time.monotonic()
    while True:
        try:
            holds = condition()
        except OSError as away:
            holds = False
            what_is = f"{what}: {away}"
        else:
            what_is = what
        took = time.monotonic() - started
        if holds:
            return took
        if took > seconds:
            raise AssertionError(f"not within {seconds} s: {what_is}")
        time.sleep(0.2)
