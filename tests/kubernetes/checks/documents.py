"""The README speaks of what there is."""

import re
import unittest

from .binaries import known
from .kustomizations import COMPONENTS, KUBERNETES, OVERLAYS

PROGRAMS = [
    ("veilpost-reader",), ("veilpost-masker",), ("veilpost-writer",), ("veilpost-writer", "migrate"),
    ("veilpost", "send"), ("veilpost", "queue"),
]


class Documents(unittest.TestCase):
    text = (KUBERNETES / "README.md").read_text()

    def test_names_every_overlay_and_component(self):
        for name in [f"overlays/{one}" for one in OVERLAYS] + [f"components/{one}" for one in COMPONENTS]:
            self.assertIn(name, self.text)

    def test_names_only_variables_that_exist(self):
        known_ones = set().union(*(known(*program) for program in PROGRAMS)) | {"VEILPOST_HMAC_KEYS"}
        self.assertEqual(set(re.findall(r"\bVEILPOST_[A-Z_]+\b", self.text)) - known_ones, set())

    def test_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#:]+)\)", self.text):
            self.assertTrue((KUBERNETES / target).exists(), target)
