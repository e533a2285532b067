"""Runs scenarios and ends with one line that sums them up."""

import unittest


class _Result(unittest.TextTestResult):
    """Counts what passed, and shows the last words of what a failed test was about."""

    passed = 0
    last_words = None

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.show(test)

    def addError(self, test, error):
        super().addError(test, error)
        self.show(test)

    def show(self, test):
        if words := self.last_words(test):
            self.stream.writeln(words)


def run(scenarios, words, last_words) -> int:
    """Runs those tests of a module whose names have one of the words in them, or all; the exit status.

    `last_words` gets a failed test and returns what to show of it, if anything.
    """
    loader = unittest.defaultTestLoader
    loader.testNamePatterns = [f"*{word}*" for word in words] or None

    def result(*arguments, **options):
        result = _Result(*arguments, **options)
        result.last_words = last_words
        return result

    result = unittest.TextTestRunner(verbosity=0, resultclass=result).run(loader.loadTestsFromModule(scenarios))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    return 1 if failed or not result.passed else 0
