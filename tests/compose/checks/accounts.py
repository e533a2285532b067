"""Accounts for what was sent: every event is a row or a dead letter; none is both or stored twice."""

from contextlib import contextmanager

from .stack import Sending, rows, sql, take_dead_letters, wait, waiting

# Normal events have a user of their own each; odd ones may lack it.
TWICE = "select count(*) from (select 1 from user_logins where length(user_id) = 36 group by user_id having count(*) > 1) twice"


class Accounts:
    def __init__(self):
        self.sent = 0
        self.to_be_rejected = 0
        self.letters = {}
        self.seed = 100

    def add(self, numbers):
        self.sent += numbers[0]
        self.to_be_rejected += numbers[1]

    def next_seed(self):
        self.seed += 1
        return self.seed

    def settle(self, seconds=180):
        """Waits until the queue is empty, then counts."""
        wait("the queue is empty", lambda: waiting() == 0, seconds)
        wait("nothing is missing", lambda: rows() >= self.sent - self.to_be_rejected, 30)
        self.letters.update(take_dead_letters())
        there, expected = rows(), self.sent - self.to_be_rejected
        assert there == expected, f"{there} rows of {self.sent} events, {self.to_be_rejected} of them to be rejected"
        assert len(self.letters) == self.to_be_rejected, f"{len(self.letters)} dead letters, expected {self.to_be_rejected}"
        self.none_twice()

    def none_twice(self):
        assert int(sql(TWICE)) == 0, "events are stored twice"
        assert int(sql("select count(*) from veilpost.ledger where rejected is null")) == rows(), "the ledger has not one key for each row"

    def begin_again(self):
        """Starts counting from what is there now: what a queue in memory has forgotten cannot be counted."""
        self.none_twice()
        take_dead_letters()
        self.sent, self.to_be_rejected, self.letters = rows(), 0, {}


class Flow:
    """Events that keep flowing for as long as the checks of a service take, however slow the machine."""

    def __init__(self, accounts, count, rate):
        self.accounts, self.count, self.rate = accounts, count, rate
        self.sending = Sending(count, accounts.next_seed(), rate)

    def keep(self):
        if not self.sending.under_way():
            self.accounts.add(self.sending.done())
            self.sending = Sending(self.count, self.accounts.next_seed(), self.rate)

    def goes_on(self, when, seconds=90):
        """Waits for rows that were not there before."""
        self.keep()
        before = rows()
        wait(f"events flow {when}", lambda: rows() > before + 200, seconds)


@contextmanager
def flow(accounts, count=20_000, rate=500):
    """Events flow meanwhile; they count also when what happens meanwhile goes wrong."""
    flowing = Flow(accounts, count, rate)
    try:
        flowing.goes_on("at all")
        yield flowing
    finally:
        accounts.add(flowing.sending.done())


accounts = Accounts()
