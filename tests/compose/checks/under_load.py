"""While events flow, replicas come and go, and containers are killed. Nothing is lost or stored twice."""

import json
import time

from .accounts import accounts, flow
from .stack import SERVICES, Sending, as_root, compose, container, containers, healthy, metrics, rows, run, send, sqs, wait, waiting

WORK = {
    "masker": "veilpost_masker_masked_records_total",
    "writer": "veilpost_writer_records_total",
    "reader": "veilpost_reader_deliveries_total",
}


def scale(**replicas):
    options = [part for service, count in {**replicas, "producer": 0}.items() for part in ("--scale", f"{service}={count}")]
    # Of a starved machine's health checks some are too late, and `up` waits for no second one.
    for _ in range(2):
        try:
            return compose("up", "--detach", "--no-build", *options)
        except AssertionError as error:
            print(f"    once more: {error}")
            time.sleep(10)
    return compose("up", "--detach", "--no-build", *options)


def replicas_come_and_go_while_events_flow():
    with flow(accounts) as flowing:
        scale(masker=3, writer=2, reader=2)
        started = time.monotonic()
        assert len(containers("masker")) == 3 and len(containers("writer")) == 2 and len(containers("reader")) == 2
        flowing.keep()
        for service, metric in WORK.items():
            wait(f"every {service} works", lambda: all(metrics(one, service).get(metric, 0) > 0 for one in containers(service)), 30)
        print(f"    new replicas worked {time.monotonic() - started:.1f} s after `up` returned")
        scale(masker=1, writer=1, reader=1)
        assert len(containers("masker")) == 1 and len(containers("writer")) == 1 and len(containers("reader")) == 1
        flowing.goes_on("after replicas went")
    accounts.settle()


def stopping_leaves_nothing_hidden():
    with flow(accounts, count=4_000):
        stop("reader")
    attributes = sqs("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0", "messages are still hidden"
    assert waiting() > 0, "the reader read on"
    stop("writer")
    stop("masker")
    compose("start", *SERVICES)
    accounts.settle()


def stop(service):
    stopped = container(service)["Id"]
    compose("stop", service)
    status = json.loads(run("docker", "inspect", stopped))[0]["State"]["ExitCode"]
    assert status == 0, f"the {service} ended with exit status {status}"


def kill(service, pause=1):
    killed = container(service)["Id"]
    run("docker", "kill", killed)
    time.sleep(pause)
    run("docker", "start", killed)
    wait(f"{service} is healthy again", lambda: healthy(service), 90)


def killed_containers_lose_and_double_nothing():
    with flow(accounts) as flowing:
        for service in ["masker", "writer", "reader", "postgres", "jaeger"]:
            flowing.keep()
            kill(service)
            flowing.goes_on(f"after {service} was killed")
    accounts.settle()


def a_crash_is_restarted():
    crashed = container("masker")
    # Not `docker kill`, after which Docker restarts nothing.
    as_root("kill", "-KILL", str(crashed["State"]["Pid"]))
    wait("the masker is restarted", lambda: containers("masker") and container("masker")["RestartCount"] > crashed["RestartCount"], 30)
    wait("the masker is healthy", lambda: healthy("masker"), 60)


def a_killed_queue_costs_only_what_was_in_it():
    """Messages waiting in memory are lost. Nothing is stored twice, and the reader reconnects by itself."""
    before = rows()
    sending = Sending(5_000, accounts.next_seed(), rate=500)
    wait("events flow", lambda: rows() > before + 500, 60)
    kill("queue")
    sending.over()
    wait("the queue is empty", lambda: waiting() == 0, 120)
    wait("nothing is in flight", lambda: metrics(container("reader"), "reader")["veilpost_reader_in_flight_messages"] == 0, 120)
    stored = rows() - before
    assert 500 < stored <= 5_000, f"{stored} rows of 5,000 events"
    print(f"    {stored} of 5,000 events were stored; the rest was in the queue, or never sent")
    accounts.begin_again()
    accounts.add(send("--count", "500", "--seed", str(accounts.next_seed())))
    accounts.settle()


CHECKS = [
    replicas_come_and_go_while_events_flow,
    stopping_leaves_nothing_hidden,
    killed_containers_lose_and_double_nothing,
    a_crash_is_restarted,
    a_killed_queue_costs_only_what_was_in_it,
]
