"""What was sent against what was found, for as long as the namespace lives."""

from rebalancing.sqs import Sqs
from rebalancing.waiting import within

from .forward import Forward


class Account:
    def __init__(self, cluster):
        self.cluster = cluster
        self.forward = None
        self.letters = set()
        self.sent = self.rejected = 0

    def add(self, sent, rejected):
        self.sent += sent
        self.rejected += rejected

    @property
    def queue(self):
        if not self.forward or not self.forward.is_open():
            self.forward = Forward(self.cluster, "service/queue", 9324)
        return Sqs(self.forward.url)

    def rows(self):
        return int(self.cluster.sql("select count(*) from user_logins"))

    def settle(self, latest):
        """Waits until the queue is empty, and counts: every message is a row or a dead letter."""
        took = within(240, "the queue is empty", lambda: self.queue.waiting() == 0)
        print(f"    {self.count(*latest)}; settled after {took:.1f} s", flush=True)

    def count(self, sent, rejected):
        sent, rejected = self.sent + sent, self.rejected + rejected
        rows, keys = self.rows(), int(self.cluster.sql("select count(*) from veilpost.ledger where rejected is null"))
        self.letters |= self.queue.dead_letters()
        found = f"{sent} sent: {rows} rows, {keys} keys, {len(self.letters)} dead letters"
        stored = sent - rejected
        assert (rows, keys, len(self.letters)) == (stored, stored, rejected), f"{found}, of {stored} and {rejected}"
        return found

    def close(self):
        if self.forward:
            self.forward.close()
