"""A pipeline of replicas behind names, and the account of what went through."""

import collections

from .backing import Postgres, Queue
from .load import Load
from .metrics import takes_its_share
from .replicas import NAMES, Replica, make_certificates
from .waiting import within

# The order to start in, though it does not matter.
SERVICES = ("writer", "masker", "reader")


class Pipeline:
    def __init__(self, folder, names, tls=False):
        self.folder = folder
        self.names = names
        self.names.addresses = {name: () for name in NAMES.values()}
        self.replicas = collections.defaultdict(list)
        self.started = []
        self.queue = Queue(folder)
        self.postgres = Postgres(folder)
        self.certificates = make_certificates(folder / "certificates") if tls else None
        self.load = None
        self.letters = set()

    def start(self, replicas):
        """As many of each service, ready and known by name, and a load that all of them share."""
        starting = [self.launch(service) for service in SERVICES for _ in range(replicas)]
        for replica in starting:
            self.publish(replica.ready())
        self.load = Load(self.queue)
        for service in SERVICES:
            for replica in self.replicas[service]:
                self.takes_its_share(replica, 20)

    def launch(self, service):
        replica = Replica(service, self.folder, self.certificates)
        self.started.append(replica)
        return replica

    def publish(self, replica):
        self.replicas[replica.service].append(replica)
        if replica.service in NAMES:
            self.names.add(NAMES[replica.service], replica.address)

    def withdraw(self, replica):
        self.replicas[replica.service].remove(replica)
        if replica.service in NAMES:
            self.names.remove(NAMES[replica.service], replica.address)

    def join(self, service):
        replica = self.launch(service).ready()
        self.publish(replica)
        return replica

    def senders(self, service):
        return self.replicas[{"masker": "reader", "writer": "masker"}[service]]

    def takes_its_share(self, replica, seconds):
        return takes_its_share(replica, self.replicas[replica.service], seconds)

    def flows(self, seconds, but=()):
        """Waits until every replica handles records again; returns after how many seconds."""
        watched = [one for service in SERVICES for one in self.replicas[service] if one not in but]
        before = {one.name: one.handled() for one in watched}
        return within(seconds, "records flow", lambda: all(one.handled() > before[one.name] for one in watched))

    def knows(self, service, replica):
        """Whether any sender has a stream to the replica, or wants one."""
        return any(replica.address in sender.unreceipted() for sender in self.senders(service))

    def account(self):
        """Stops the load and counts: every message is one row or one dead letter, and the ledger agrees."""
        self.load.stop()
        took = within(60, "the queue is empty", lambda: self.queue.waiting() == 0)
        print(f"    {self.count()}; settled after {took:.1f} s", flush=True)

    def count(self):
        rows = self.postgres.number("select count(*) from user_logins")
        users = self.postgres.number("select count(distinct user_id) from user_logins")
        ledger = self.postgres.number("select count(*) from veilpost.ledger where rejected is null")
        self.letters |= self.queue.dead_letters()
        sent, rejected = self.load.sent, self.load.rejected()
        found = f"{sent} sent: {rows} rows of {users} users, {len(self.letters)} dead letters, {ledger} keys"
        assert (rows, users, ledger, len(self.letters)) == (sent - rejected,) * 3 + (rejected,), found
        return found

    def stop(self):
        if self.load:
            self.load.end()
        for replica in self.started:
            replica.killed()
        self.queue.stop()
        self.postgres.stop()

    def last_words(self):
        """The ends of all logs."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)
