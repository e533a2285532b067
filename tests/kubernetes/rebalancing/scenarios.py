"""Replicas join, leave and vanish; load follows, and every message is stored or dead-lettered once."""

import pathlib
import tempfile
import unittest

from . import network
from .names import Names
from .pipeline import SERVICES, Pipeline
from .waiting import within

# HTTP/2 pings every 4 s and waits 4 s for an answer; TCP alone would wait for a quarter of an hour.
NOTICED = 15


def setUpModule():
    global names, root
    root = tempfile.TemporaryDirectory()
    pathlib.Path(root.name).chmod(0o755)
    network.make_hub(pathlib.Path(root.name))
    names = Names(network.HUB)


def tearDownModule():
    root.cleanup()


def report(what, seconds):
    print(f"    {what} after {seconds:.1f} s", flush=True)


class Scenario(unittest.TestCase):
    tls = False

    def setUp(self):
        print(f"  {self.id().rpartition('test_')[2].replace('_', ' ')}", flush=True)
        folder = pathlib.Path(tempfile.mkdtemp(dir=root.name))
        folder.chmod(0o755)
        self.pipeline = Pipeline(folder, names, self.tls)
        self.addCleanup(self.pipeline.stop)
        self.pipeline.start(replicas=2)

    def cut_off(self, service):
        lost = self.pipeline.replicas[service][0]
        senders = self.pipeline.senders(service)
        streams = lambda sender: sender.metric("veilpost_link_open_streams")
        lost.host.cut_off()
        report("the others go on", self.pipeline.flows(5, but=[lost]))
        noticed = within(NOTICED, f"{lost.name} is given up", lambda: all(streams(sender) == 1 for sender in senders))
        report(f"{lost.name} is given up", noticed)
        for sender in senders:
            self.assertEqual(sender.unreceipted()[lost.address], 0)
        self.assertGreater(sum(sender.metric("veilpost_link_resent_records_total") for sender in senders), 0)
        lost.host.connect_again()
        report(f"{lost.name} has its share again", self.pipeline.takes_its_share(lost, 15))

    def replace_all(self, service):
        for old in list(self.pipeline.replicas[service]):
            self.pipeline.join(service)
            self.pipeline.withdraw(old)
            old.told_to_end().ended()
        report(f"records flow through new {service}s", self.pipeline.flows(10))


class Rebalancing(Scenario):
    def test_a_replica_that_joins_takes_its_share(self):
        for service in SERVICES:
            newcomer = self.pipeline.join(service)
            report(f"{newcomer.name} has its share", self.pipeline.takes_its_share(newcomer, 10))
        self.pipeline.account()

    def test_a_replica_that_leaves_the_name_ends_with_nothing_sent_again(self):
        for service in ("writer", "masker"):
            leaver = self.pipeline.replicas[service][0]
            self.pipeline.withdraw(leaver)
            took = within(10, f"nobody sends to {leaver.name}", lambda: not self.pipeline.knows(service, leaver))
            report(f"{leaver.name} has no stream", took)
            before = leaver.handled()
            self.pipeline.flows(10)
            self.assertEqual(leaver.handled(), before)
            for sender in self.pipeline.senders(service):
                self.assertEqual(sender.metric("veilpost_link_resent_records_total"), 0)
            leaver.told_to_end().ended()
        self.pipeline.account()

    def test_a_replica_that_is_cut_off_is_noticed_by_keepalive_and_its_share_moves(self):
        for service in ("writer", "masker"):
            self.cut_off(service)
        self.pipeline.account()

    def test_a_reader_that_is_cut_off_leaves_its_messages_to_the_others(self):
        lost = self.pipeline.replicas["reader"][0]
        lost.host.cut_off()
        report("the others go on", self.pipeline.flows(5, but=[lost]))
        self.pipeline.account()
        lost.host.connect_again()
        in_flight = lambda: lost.metric("veilpost_reader_in_flight_messages")
        report(f"{lost.name} holds nothing", within(60, f"{lost.name} holds nothing", lambda: in_flight() == 0))
        self.pipeline.count()

    def test_a_rolling_restart_of_every_replica_ends_with_exact_counts(self):
        for service in SERVICES:
            self.replace_all(service)
        self.pipeline.account()


class OverMutualTls(Scenario):
    tls = True

    def test_over_mutual_tls_replicas_that_are_cut_off_or_replaced_lose_nothing(self):
        self.cut_off("writer")
        for service in SERVICES:
            self.replace_all(service)
        self.pipeline.account()
