"""Runs the scenarios and ends with one line that sums them up."""

import sys

import runner

from . import scenarios


def last_words(test):
    """What the processes of the test's pipeline said last."""
    pipeline = getattr(test, "pipeline", None)
    return pipeline and pipeline.last_words()


sys.exit(runner.run(scenarios, sys.argv[1:], last_words))
