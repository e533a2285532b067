"""Runs the checks in their order and ends with one line that sums them up."""

import sys
import time
import traceback

from . import files, first_start, images, isolation, telemetry, tls, under_load
from .stack import LASTING, containers, logs

# Each finds the stack as the ones before it left it.
CHECKS = [
    *files.CHECKS,
    *images.CHECKS,
    *first_start.CHECKS,
    *isolation.CHECKS,
    *tls.CHECKS,
    *telemetry.CHECKS,
    *under_load.CHECKS,
    *telemetry.AT_THE_END,
]


def show_logs():
    for service in LASTING:
        for found in containers(service, ended=True):
            print(f"--- {service}", *logs(found).splitlines()[-12:], sep="\n")


def passes(check):
    name, started = check.__name__.replace("_", " "), time.monotonic()
    try:
        check()
    except Exception as error:
        print(f"FAILED  {name} ({time.monotonic() - started:.0f} s): {error}")
        if not isinstance(error, AssertionError):
            traceback.print_exc(file=sys.stdout)
        return False
    print(f"ok      {name} ({time.monotonic() - started:.0f} s)")
    return True


def main(words):
    if words == ["--skip"]:
        print(f"0 passed, 0 failed, {len(CHECKS)} skipped")
        return 0
    chosen = [check for check in CHECKS if not words or any(word in check.__name__ for word in words)]
    failed = 0
    for check in chosen:
        if not passes(check):
            failed += 1
            # What comes after a stack that is not up only repeats that.
            if failed == 1:
                show_logs()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


sys.exit(main(sys.argv[1:]))
