"""Refuses what is no cluster to play with, runs the scenarios, and ends with one line that sums them up."""

import os
import sys
import unittest

from . import scenarios
from .cluster import Cluster


class Result(unittest.TextTestResult):
    """Shows the pods, and what they said last, after a failure."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.stream.writeln(scenarios.cluster.last_words())

    def addError(self, test, error):
        super().addError(test, error)
        self.stream.writeln(scenarios.cluster.last_words())


def main() -> int:
    context, *words = sys.argv[1:]
    cluster = Cluster(context)
    if refusal := cluster.refusal():
        print(f"tests/kubernetes/cluster: {refusal}", file=sys.stderr)
        return 2
    print(f"Kubernetes {cluster.version['gitVersion']}", flush=True)
    scenarios.use(cluster, keep=bool(os.environ.get("KEEP")))
    tests = unittest.defaultTestLoader
    tests.testNamePatterns = [f"*{word}*" for word in words] or None
    result = unittest.TextTestRunner(verbosity=0, resultclass=Result).run(tests.loadTestsFromModule(scenarios))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    return 1 if failed or not result.passed else 0


sys.exit(main())
