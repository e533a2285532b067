"""NetworkPolicies allow exactly the pipeline's edges."""

import itertools
import unittest

from .kustomizations import SERVICES, VARIANTS, containers, objects, of_kind, pod_template, service, workloads
from .policies import Peer, Policies
from .variants import each, expanded


def labels(**own):
    return tuple((f"app.kubernetes.io/{key}", value) for key, value in own.items())


PROMETHEUS = Peer("prometheus", labels(name="prometheus"), "monitoring")
DNS = Peer("dns", (("k8s-app", "kube-dns"),), "kube-system")
COLLECTOR = Peer("collector", labels(name="opentelemetry-collector"), "observability")
STRANGERS = [
    Peer("a stranger in the namespace", labels(name="stranger")),
    Peer("a stranger elsewhere", labels(name="stranger"), "default"),
    Peer("a reader elsewhere", labels(name="veilpost", component="reader"), "default"),
    Peer("a stranger beside Prometheus", labels(name="stranger"), "monitoring"),
    Peer("a Prometheus elsewhere", labels(name="prometheus"), "default"),
    Peer("a stranger beside DNS", labels(name="stranger"), "kube-system"),
    Peer("the internet", address="8.8.8.8"),
    Peer("the metadata service", address="169.254.169.254"),
    Peer("the API server", address="10.96.0.1"),
]
SQS = [Peer("sqs", address="10.0.10.7"), Peer("sqs", address="10.0.11.7")]
DATABASE = [Peer("postgres", address="10.0.20.7"), Peer("postgres", address="10.0.21.7")]

PIPELINE = {
    ("prometheus", "reader", "TCP", 9101), ("prometheus", "masker", "TCP", 9102), ("prometheus", "writer", "TCP", 9103),
    ("reader", "masker", "TCP", 50051), ("masker", "writer", "TCP", 50052), ("writer", "postgres", "TCP", 5432),
} | {(name, "dns", protocol, 53) for name in SERVICES for protocol in ("TCP", "UDP")}

LOCAL = PIPELINE | {
    ("reader", "queue", "TCP", 9324), ("producer", "queue", "TCP", 9324),
    ("producer", "dns", "TCP", 53), ("producer", "dns", "UDP", 53),
} | {(name, "jaeger", "TCP", 4317) for name in SERVICES}

PRODUCTION = PIPELINE | {("reader", "sqs", "TCP", 443)} | {(name, "collector", "TCP", 4317) for name in SERVICES}


def pods(found):
    """A peer for each workload, named by its component or, where it is not Veilpost's, by its name."""
    for workload in workloads(found):
        own = pod_template(workload)["metadata"]["labels"]
        name = own.get("app.kubernetes.io/component", own["app.kubernetes.io/name"])
        yield Peer(name, tuple(own.items()))


def ports(found):
    """Every port that a policy or a container names, and some that none does."""
    for policy in of_kind(found, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            yield from ((port["protocol"], port["port"]) for port in rule["ports"])
    for workload in workloads(found):
        for container in containers(workload):
            yield from ((port["protocol"], port["containerPort"]) for port in container.get("ports", []))
    yield from [("TCP", 22), ("TCP", 80), ("TCP", 443), ("TCP", 5432), ("TCP", 6443), ("UDP", 9999)]


def edges(found, others, allowed=Policies.allow):
    policies = Policies(found)
    own = list(pods(found))
    peers = own + others
    return {(source.name, target.name, *port)
            for source, target in itertools.product(peers, peers) if source != target and (source in own or target in own)
            for port in set(ports(found)) if allowed(policies, source, target, *port)}


def leaving(policies, source, target, protocol, port):
    return source.namespace == "veilpost" and not source.address and policies.one_end("egress", source, target, protocol, port)


def arriving(policies, source, target, protocol, port):
    return target.namespace == "veilpost" and not target.address and policies.one_end("ingress", target, source, protocol, port)


@expanded
class Network(unittest.TestCase):
    maxDiff = None

    def assert_edges(self, found, others, expected):
        """At each end by itself too: neither relies on the other's policy."""
        self.assertEqual(edges(found, others), expected)
        own = {pod.name for pod in pods(found)}
        self.assertEqual(edges(found, others, leaving), {edge for edge in expected if edge[0] in own})
        self.assertEqual(edges(found, others, arriving), {edge for edge in expected if edge[1] in own})

    def test_the_local_overlay_allows_exactly_these_edges(self):
        self.assert_edges(objects("local"), [PROMETHEUS, DNS, COLLECTOR, *STRANGERS], LOCAL)

    @each(variant=[name for name in VARIANTS if name != "local"])
    def test_production_allows_exactly_these_edges(self, variant):
        others = [PROMETHEUS, DNS, COLLECTOR, *SQS, *DATABASE, *STRANGERS]
        self.assert_edges(objects(variant), others, PRODUCTION)

    @each(variant=VARIANTS)
    def test_the_default_is_to_deny_both_ways(self, variant):
        found = [one for one in of_kind(objects(variant), "NetworkPolicy") if not one["spec"]["podSelector"]]
        (deny,) = found
        self.assertEqual(sorted(deny["spec"]["policyTypes"]), ["Egress", "Ingress"])
        self.assertFalse(deny["spec"].keys() & {"ingress", "egress"})

    @each(variant=VARIANTS)
    def test_every_rule_names_peers_and_ports(self, variant):
        for policy in of_kind(objects(variant), "NetworkPolicy"):
            for direction, key in (("ingress", "from"), ("egress", "to")):
                for rule in policy["spec"].get(direction, []):
                    self.assertTrue(rule[key] and rule["ports"], policy["metadata"]["name"])

    def test_the_edges_would_change_with_a_policy_gone(self):
        for gone in ("default-deny", "writer", "to-dns", "queue"):
            rest = [one for one in objects("local")
                    if (one["kind"], one["metadata"]["name"]) != ("NetworkPolicy", gone)]
            self.assertNotEqual(edges(rest, [PROMETHEUS, DNS, *STRANGERS]), LOCAL, gone)
