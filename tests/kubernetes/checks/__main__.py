"""Runs all checks and ends with one line that sums them up."""

import sys
import unittest

CHECKS = ["rendering", "pods", "settings", "network", "scaling", "alerts", "tls", "documents", "refusals", "processes"]


def main() -> int:
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames([f"checks.{name}" for name in CHECKS])
    result = unittest.TextTestRunner(verbosity=2 if "--verbose" in sys.argv else 1).run(suite)
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


sys.exit(main())
