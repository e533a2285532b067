"""The local overlay on a cluster: pods change under load, every message is stored or dead-lettered once."""

import os
import time
import unittest

from rebalancing.metrics import takes_its_share
from rebalancing.waiting import within

from .account import Account
from .load import Load, summary
from .pods import Pods

SERVICES = ("reader", "masker", "writer")
SHARE_WITHIN = float(os.environ.get("SHARE_WITHIN", 40))

# The drain's 25 s, and what the kubelet needs around it; the pod has 45.
DRAINED_WITHIN = 35


def use(chosen, keep):
    global cluster, kept
    cluster, kept = chosen, keep


def setUpModule():
    global account, pods
    account, pods = Account(cluster), Pods(cluster)
    unittest.addModuleCleanup(clean_up)
    started = time.monotonic()
    cluster.apply()
    for what in ("statefulset/postgres", "deployment/queue", "deployment/jaeger"):
        cluster.rolled_out(what)
    all_rolled_out()
    cluster.run("wait", "--for=condition=complete", "job/producer", "--timeout=120s")
    report("everything is ready", time.monotonic() - started)
    account.add(*summary(cluster.run("logs", "job/producer")))


def clean_up():
    account.close()
    pods.close()
    if not kept:
        cluster.remove()


def report(what, seconds):
    print(f"    {what} after {seconds:.1f} s", flush=True)


def all_rolled_out():
    for service in SERVICES:
        cluster.rolled_out(f"deployment/veilpost-{service}")


def replicas(service, count):
    """Scales and waits until there are as many pods as that, all ready."""
    before = {pod.name for pod in pods.of(service)}
    cluster.scale(f"veilpost-{service}", count)
    within(120, f"{count} pods of the {service}", lambda: len(pods.described(service)) == count == len(pods.ready(service)))
    return [pod for pod in pods.of(service) if pod.name not in before]


def works(pod):
    """Waits until it has its share, or for a reader any message: the queue decides how many each one gets."""
    if pod.service == "reader":
        within(SHARE_WITHIN, f"{pod.name} receives", lambda: pod.handled() > 0)
    else:
        takes_its_share(pod, pods.of(pod.service), SHARE_WITHIN)


class Applied(unittest.TestCase):
    def setUp(self):
        print(f"  {self.id().rpartition('test_')[2].replace('_', ' ')}", flush=True)

    def under_load(self):
        """A load that has begun to arrive."""
        before = account.rows()
        load = Load(cluster)
        # Also when the test fails: the next one counts what this one has sent.
        self.addCleanup(lambda: account.add(*load.done()))
        within(60, "rows arrive", lambda: account.rows() > before + 100)
        return load

    def settled(self, load):
        """What happened so far must have happened under load."""
        self.assertTrue(load.under_way(), "the load was over before; LOAD_COUNT=… makes it longer")
        account.settle(load.done())

    def scales(self, service):
        replicas(service, 1)
        load = self.under_load()
        newcomers = replicas(service, 3)
        self.assertEqual(len(newcomers), 2)
        for pod in newcomers:
            works(pod)
            report(f"{pod.name} works", max(0, time.time() - pods.ready(service)[pod.name]))
        replicas(service, 1)
        self.settled(load)
        replicas(service, 2)

    def test_1_it_comes_up_by_itself_and_stores_the_sample(self):
        self.assertEqual((account.sent, account.rejected), (100, 10))
        account.settle((0, 0))
        restarts = {name: count for name, count in pods.restarts().items() if not name.startswith("producer-")}
        self.assertEqual({name: count for name, count in restarts.items() if count}, {})

    def test_the_reader_is_scaled_by_itself(self):
        self.scales("reader")

    def test_the_masker_is_scaled_by_itself(self):
        self.scales("masker")

    def test_the_writer_is_scaled_by_itself(self):
        self.scales("writer")

    def test_deleted_pods_drain(self):
        load = self.under_load()
        for service in SERVICES:
            pod = pods.of(service)[0]
            cluster.run("delete", f"pod/{pod.name}", "--wait=false")
            report(f"{pod.name} has drained", within(DRAINED_WITHIN, f"{pod.name} drains", pod.has_drained))
            cluster.rolled_out(f"deployment/veilpost-{service}")
        self.settled(load)

    def test_pods_that_are_killed_cost_nothing(self):
        load = self.under_load()
        for service in SERVICES:
            pod = pods.of(service)[0]
            cluster.run("delete", f"pod/{pod.name}", "--grace-period=0", "--force")
            cluster.rolled_out(f"deployment/veilpost-{service}")
        self.settled(load)

    def test_a_rolling_restart_of_all_services_at_once(self):
        load = self.under_load()
        old = {pod.name for service in SERVICES for pod in pods.of(service)}
        started = time.monotonic()
        cluster.run("rollout", "restart", *(f"deployment/veilpost-{service}" for service in SERVICES))
        all_rolled_out()
        report("every pod is replaced", time.monotonic() - started)
        self.assertFalse(old & {pod.name for service in SERVICES for pod in pods.of(service)})
        self.settled(load)

    def test_a_changed_setting_rolls_the_pods_that_use_it(self):
        load = self.under_load()
        before = {service: set(pods.ready(service)) for service in SERVICES}
        cluster.apply(configMapGenerator=[
            {"name": "veilpost-writer", "behavior": "merge", "literals": ["VEILPOST_CONNECTIONS=3"]}])
        all_rolled_out()
        for service in SERVICES:
            now = {pod.name for pod in pods.of(service)}
            self.assertEqual(now.isdisjoint(before[service]), service == "writer", f"{service}: {before[service]}, then {now}")
        self.settled(load)

    def test_the_database_password_is_changed(self):
        load = self.under_load()
        cluster.sql("alter role veilpost_writer password 'another-one'")
        cluster.apply(secretGenerator=[{"name": "veilpost-database", "behavior": "replace", "literals": [
            "url=postgres://veilpost_writer:another-one@postgres:5432/veilpost"]}])
        all_rolled_out()
        self.settled(load)

    def test_the_drain_of_a_node_takes_one_pod_of_a_service_at_a_time(self):
        load = self.under_load()
        first, second = (pod.name for pod in pods.of("writer"))
        self.assertEqual(cluster.evict(first), "evicted")
        self.assertIn("disruption budget", cluster.evict(second))
        within(60, f"{second} may go", lambda: cluster.evict(second) == "evicted")
        cluster.rolled_out("deployment/veilpost-writer")
        self.settled(load)
