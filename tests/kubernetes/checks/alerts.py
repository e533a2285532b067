"""Alerts name metrics that the services have, and the runbook says what to do about each."""

import re
import unittest

import yaml

from .kustomizations import KUBERNETES, ROOT, SERVICES, named, objects, pod_template, service

VARIANT = "production with prometheus-operator"
REMEDY = "indent deploy/alerts/veilpost.yml by two under the `spec:` of components/prometheus-operator/rules.yaml"


def known_metrics():
    names = set()
    for source in (ROOT / "services").rglob("*.rs"):
        names |= set(re.findall(r'"(veilpost_[a-z_]+)"', source.read_text()))
    return names


def rules():
    for group in named(objects(VARIANT), "PrometheusRule", "veilpost")["spec"]["groups"]:
        yield from group["rules"]


class Alerts(unittest.TestCase):
    def test_every_metric_exists(self):
        known = known_metrics()
        used = {name for rule in rules() for name in re.findall(r"\bveilpost_[a-z_]+\b", rule["expr"])}
        self.assertTrue(used)
        self.assertEqual({re.sub("_(bucket|count|sum)$", "", name) for name in used} - known, set())

    def test_every_alert_says_how_bad_it_is_and_what_to_do(self):
        headings = re.findall(r"^#+ `?(\w+)`?$", (KUBERNETES / "README.md").read_text(), re.MULTILINE)
        for rule in rules():
            self.assertIn(rule["labels"]["severity"], {"warn", "page"})
            self.assertIn("summary", rule["annotations"])
            self.assertIn(rule["alert"], headings, "the runbook lacks it")

    def test_they_are_those_of_the_other_ways_to_run(self):
        shared = {}
        for file in sorted((ROOT / "deploy/alerts").glob("*.y*ml")):
            for group in yaml.safe_load(file.read_text()).get("groups", []):
                shared |= {rule["alert"]: rule for rule in group["rules"]}
        self.assertEqual({rule["alert"]: rule for rule in rules()}, shared, REMEDY)

    def test_the_monitor_scrapes_the_admin_port_of_all_services(self):
        monitor = named(objects(VARIANT), "PodMonitor", "veilpost")["spec"]
        (expression,) = monitor["selector"]["matchExpressions"]
        self.assertEqual(sorted(expression["values"]), sorted(SERVICES))
        (endpoint,) = monitor["podMetricsEndpoints"]
        self.assertIn("job", [one["targetLabel"] for one in endpoint["relabelings"]], "rules know services by job")
        for name in SERVICES:
            template = pod_template(service(objects(VARIANT), name))
            self.assertLessEqual(monitor["selector"]["matchLabels"].items(), template["metadata"]["labels"].items())
            self.assertEqual(template["metadata"]["labels"]["app.kubernetes.io/component"], name)
            self.assertEqual(endpoint["path"], template["metadata"]["annotations"]["prometheus.io/path"])
            self.assertIn(endpoint["port"], [port["name"] for port in template["spec"]["containers"][0]["ports"]])
