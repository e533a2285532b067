"""Autoscalers own the replicas that they scale, and stay within the limits of SQS and Postgres."""

import unittest

from .binaries import known
from .kustomizations import SERVICES, VARIANTS, named, objects, of_kind, pod_template, service, variables
from .variants import each, expanded

SQS_IN_FLIGHT = 120_000

# Postgres's default max_connections less what it reserves for superusers.
CONNECTIONS = 100 - 3

# Beside the pool: upkeep, the reading of the catalogue, and the migrations of a pod that comes.
BESIDE_THE_POOL = 3


def setting(found, name, variable):
    (container,) = pod_template(service(found, name))["spec"]["containers"]
    return variables(found, container).get(variable, known(f"veilpost-{name}")[variable])


def scalers(found):
    for one in of_kind(found, "ScaledObject", "HorizontalPodAutoscaler"):
        spec = one["spec"]
        most = spec.get("maxReplicaCount", spec.get("maxReplicas"))
        yield spec["scaleTargetRef"]["name"].removeprefix("veilpost-"), most


def most_replicas(found, name):
    return dict(scalers(found)).get(name) or service(found, name)["spec"]["replicas"]


@expanded
class Scaling(unittest.TestCase):
    @each(variant=VARIANTS)
    def test_replicas_have_one_owner(self, variant):
        found = objects(variant)
        scaled = [name for name, _ in scalers(found)]
        self.assertEqual(len(scaled), len(set(scaled)))
        for name in SERVICES:
            self.assertEqual("replicas" in service(found, name)["spec"], name not in scaled)

    @each(variant=VARIANTS)
    def test_all_windows_together_fit_into_what_a_queue_may_have_in_flight(self, variant):
        found = objects(variant)
        window = int(setting(found, "reader", "VEILPOST_WINDOW_MESSAGES"))
        # One more while pods are replaced.
        self.assertLessEqual((most_replicas(found, "reader") + 1) * window, SQS_IN_FLIGHT)

    @each(variant=VARIANTS)
    def test_all_pools_together_fit_into_postgres(self, variant):
        found = objects(variant)
        pool = int(setting(found, "writer", "VEILPOST_CONNECTIONS"))
        self.assertLessEqual((most_replicas(found, "writer") + 1) * (pool + BESIDE_THE_POOL), CONNECTIONS)

    @each(variant=["production-autoscaled", "production with reader-keda"])
    def test_readers_follow_the_queue_that_they_read(self, variant):
        found = objects(variant)
        spec = named(found, "ScaledObject", "veilpost-reader")["spec"]
        (trigger,) = spec["triggers"]
        self.assertEqual(trigger["type"], "aws-sqs-queue")
        self.assertIn(trigger["metadata"]["queueURLFromEnv"], known("veilpost-reader"))
        self.assertEqual(trigger["metadata"]["awsRegion"], setting_of_aws(found))
        self.assertEqual(trigger["metadata"]["queueLength"], setting(found, "reader", "VEILPOST_WINDOW_MESSAGES"))
        self.assertEqual(trigger["metadata"]["scaleOnInFlight"], "true")
        self.assertTrue(all(isinstance(value, str) for value in trigger["metadata"].values()))
        self.assertEqual(spec["minReplicaCount"], 0)
        named(found, "TriggerAuthentication", trigger["authenticationRef"]["name"])
        grace = pod_template(service(found, "reader"))["spec"]["terminationGracePeriodSeconds"]
        self.assertGreater(spec["cooldownPeriod"], grace)

    @each(variant=["production-autoscaled", "production with masker-hpa", "production with writer-hpa"])
    def test_cpu_is_measured_against_a_request(self, variant):
        found = objects(variant)
        for one in of_kind(found, "HorizontalPodAutoscaler"):
            name = one["spec"]["scaleTargetRef"]["name"].removeprefix("veilpost-")
            (metric,) = one["spec"]["metrics"]
            self.assertEqual(metric["resource"]["name"], "cpu")
            (container,) = pod_template(service(found, name))["spec"]["containers"]
            self.assertIn("cpu", container["resources"]["requests"])
            self.assertGreaterEqual(one["spec"]["minReplicas"], 2)


def setting_of_aws(found):
    (container,) = pod_template(service(found, "reader"))["spec"]["containers"]
    return variables(found, container)["AWS_REGION"]
