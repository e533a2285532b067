"""Everything builds and is valid for several versions of Kubernetes."""

import copy
import functools
import json
import unittest

import kubernetes_validate
import yaml

from .kustomizations import COMPONENTS, KUBERNETES, SERVICES, VARIANTS, build, objects, of_kind, workloads
from .variants import each, expanded

# Minor versions that all overlays are for; the local one is also for older clusters.
VERSIONS = ["1.27", "1.29", "1.31", "1.33", "1.35", "1.37"]
OLDER = ["1.25"]

# Kinds of custom resources, whose schemas come with their operators and not with Kubernetes.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule", "Issuer", "Certificate"}


@functools.cache
def refusal(version: str, text: str) -> str | None:
    """What is wrong with the object; many variants share theirs."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return error.message
    return None


@expanded
class Rendering(unittest.TestCase):
    def validate(self, found, version):
        for one in found:
            if one["kind"] not in CUSTOM:
                what = f"{one['kind']} {one['metadata'].get('name')} in {version}"
                self.assertIsNone(refusal(version, json.dumps(one)), what)

    @each(variant=VARIANTS)
    def test_is_valid(self, variant):
        for version in VERSIONS + (OLDER if variant == "local" else []):
            self.validate(objects(variant), version)

    def test_the_base_builds_by_itself(self):
        self.validate(build(KUBERNETES / "base"), VERSIONS[0])

    def test_a_wrong_field_would_be_found(self):
        bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
        with self.assertRaises(AssertionError):
            self.validate([bad], VERSIONS[0])

    def test_the_load_job_is_valid_and_like_the_producer(self):
        load = yaml.safe_load((KUBERNETES / "overlays/local/load.yaml").read_text())
        for version in OLDER + VERSIONS:
            self.validate([load], version)
        (producer,) = of_kind(copy.deepcopy(objects("local")), "Job")
        mine, theirs = load["spec"]["template"]["spec"], producer["spec"]["template"]["spec"]
        variables = [{one["name"] for one in pod["containers"][0].pop("env")} for pod in (mine, theirs)]
        self.assertEqual(mine, theirs)
        self.assertEqual(variables[0] - variables[1], {"VEILPOST_SEND_RATE"})

    @each(variant=VARIANTS)
    def test_has_each_object_once_and_in_the_namespace(self, variant):
        keys = [(one["kind"], one["metadata"]["name"]) for one in objects(variant)]
        self.assertEqual(sorted(set(keys)), sorted(keys))
        for one in objects(variant):
            if one["kind"] != "Namespace":
                self.assertEqual(one["metadata"].get("namespace"), "veilpost", one["metadata"]["name"])

    @each(variant=VARIANTS)
    def test_names_only_config_maps_and_secrets_that_exist_or_are_documented(self, variant):
        made = {one["metadata"]["name"] for one in of_kind(objects(variant), "ConfigMap", "Secret")}
        outside = set() if variant == "local" else {"veilpost-database", "veilpost-database-owner", "veilpost-hmac"} | {
            f"veilpost-{name}-tls" for name in SERVICES}
        for workload in workloads(objects(variant)):
            for name in references(workload):
                self.assertIn(name, made | outside)

    def test_every_component_is_built(self):
        self.assertTrue(COMPONENTS)
        for component in COMPONENTS:
            self.assertIn(f"production with {component}", VARIANTS)


def references(workload):
    pod = workload["spec"]["template"]["spec"]
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield volume["configMap"]["name"]
        if "secret" in volume:
            yield volume["secret"]["secretName"]
    for container in pod.get("initContainers", []) + pod["containers"]:
        for source in container.get("envFrom", []):
            yield source["configMapRef"]["name"]
        for variable in container.get("env", []):
            if key := variable.get("valueFrom", {}).get("configMapKeyRef"):
                yield key["name"]
