"""The test on a real cluster refuses every cluster that could be missed, and knows the binaries' settings."""

import json
import os
import pathlib
import tempfile
import unittest

from applied.cluster import NAMESPACE, Cluster
from applied.load import settings

from .binaries import known

# Answers by a word of the question.
KUBECTL = """#!/bin/sh
for word; do case $word in
get-contexts) printf %s "$CONTEXTS"; exit;;
nodes) printf %s "$NODES"; exit;;
namespace) printf %s "$FOUND"; exit;;
esac; done
exit 1
"""


class Refusals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program = pathlib.Path(folder.name) / "kubectl"
        program.write_text(KUBECTL)
        program.chmod(0o755)
        self.before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(self.before)))
        os.environ["PATH"] = f"{folder.name}:{os.environ['PATH']}"

    def refusal(self, context="kind-trial", maker="kind://docker/trial/node", found=""):
        nodes = {"items": [{"spec": {"providerID": maker}}, {"spec": {}}]}
        os.environ |= {"CONTEXTS": "kind-trial\nprod-eu\n", "NODES": json.dumps(nodes), "FOUND": found}
        return Cluster(context).refusal()

    def test_a_cluster_to_throw_away_will_do(self):
        for maker in ("kind://docker/trial/node", "k3s://node", ""):
            self.assertIsNone(self.refusal(maker=maker))

    def test_a_cloud_will_not_do(self):
        for maker in ("aws:///eu-west-1a/i-1", "gce://project/zone/node", "azure:///subscriptions/1"):
            self.assertIn(maker.partition(":")[0], self.refusal(maker=maker))

    def test_neither_will_what_sounds_like_production_is_unknown_or_is_in_use(self):
        self.assertIn("production", self.refusal("prod-eu"))
        self.assertIn("no context", self.refusal("elsewhere"))
        self.assertIn(NAMESPACE, self.refusal(found=f"{NAMESPACE} Active 4d"))

    def test_its_load_has_settings_that_the_producer_knows(self):
        self.assertLessEqual(settings().keys(), known("veilpost", "send").keys())
