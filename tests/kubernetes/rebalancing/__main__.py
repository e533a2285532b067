"""Runs the scenarios and ends with one line that sums them up."""

import sys
import unittest

from . import scenarios


class Result(unittest.TextTestResult):
    """Shows what the processes of a failed test said last."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.show_logs(test)

    def addError(self, test, error):
        super().addError(test, error)
        self.show_logs(test)

    def show_logs(self, test):
        if pipeline := getattr(test, "pipeline", None):
            self.stream.writeln(pipeline.last_words())


def main() -> int:
    tests = unittest.defaultTestLoader
    tests.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]] or None
    runner = unittest.TextTestRunner(verbosity=0, resultclass=Result)
    result = runner.run(tests.loadTestsFromModule(scenarios))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    return 1 if failed or not result.passed else 0


sys.exit(main())
