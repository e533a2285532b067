"""Refuses a cluster that is not throw-away, runs the scenarios, and ends with one line that sums them up."""

import os
import sys

import runner

from . import scenarios
from .cluster import Cluster


def main() -> int:
    context, *words = sys.argv[1:]
    cluster = Cluster(context)
    if refusal := cluster.refusal():
        print(f"tests/kubernetes/cluster: {refusal}", file=sys.stderr)
        return 2
    print(f"Kubernetes {cluster.version['gitVersion']}", flush=True)
    scenarios.use(cluster, keep=bool(os.environ.get("KEEP")))
    return runner.run(scenarios, words, lambda _: scenarios.cluster.last_words())


sys.exit(main())
