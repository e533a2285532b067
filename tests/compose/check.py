"""Checks of the composed stack; `run` prepares what they need."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from urllib.parse import quote

import spans
from stack import (
    PROJECT, Sending, addresses, compose, container, containers, fetch, healthy, logs, metrics, rows, run, sqs, sql, summary,
    take_dead_letters, wait, waiting,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ["reader", "masker", "writer"]
LASTING = [*SERVICES, "queue", "postgres", "jaeger"]

# Who reaches whom; everything else is forbidden.
NEIGHBOURS = {
    "queue": {"reader"},
    "reader": {"queue", "masker", "jaeger"},
    "masker": {"reader", "writer", "jaeger"},
    "writer": {"masker", "postgres", "jaeger"},
    "postgres": {"writer"},
    "jaeger": {"reader", "masker", "writer"},
}
PORTS = {"queue": [9324], "reader": [9101], "masker": [50051, 9102], "writer": [50052, 9103], "postgres": [5432], "jaeger": [4317]}

sent = 0
to_be_rejected = 0
letters = {}
personal = set()


def account(numbers):
    global sent, to_be_rejected
    sent += numbers[0]
    to_be_rejected += numbers[1]


@contextmanager
def events(count, **options):
    """Events that flow meanwhile; they count also when what happens meanwhile goes wrong."""
    sending, before = Sending(count, **options), rows()
    try:
        wait("events flow", lambda: rows() > before + 500, 60)
        yield sending
    finally:
        account(sending.done())


def settled(seconds=120):
    """Waits until the queue is empty, then counts: every event is a row or a dead letter, and none is both or twice."""
    wait("the queue is empty", lambda: waiting() == 0, seconds)
    wait("nothing is missing", lambda: rows() >= sent - to_be_rejected, 30)
    letters.update(take_dead_letters())
    assert rows() == sent - to_be_rejected, f"{rows()} rows of {sent} events, {to_be_rejected} of them to be rejected"
    assert len(letters) == to_be_rejected, f"{len(letters)} dead letters, expected {to_be_rejected}"
    assert int(sql("select count(*) from veilpost.ledger")) == rows()


def the_images_are_small_and_labelled():
    for name in ["veilpost-reader", "veilpost-masker", "veilpost-writer", "veilpost"]:
        image = json.loads(run("docker", "image", "inspect", f"veilpost-check/{name}:latest"))[0]
        size = image["Size"] / 1e6
        print(f"    {name}: {size:.1f} MB")
        assert size < 60, f"{name} has {size} MB"
        assert image["Config"]["User"] == "65532:65532"
        assert image["Config"]["Labels"]["org.opencontainers.image.title"] == name
        assert name == "veilpost" or image["Config"]["Healthcheck"]["Test"] == ["CMD", "/usr/bin/veilpost-healthcheck"]


def everything_comes_up_healthy_at_the_first_try():
    started = time.monotonic()
    compose("up", "--detach", "--wait", *LASTING, timeout=300)
    print(f"    healthy after {time.monotonic() - started:.0f} s")
    for service in LASTING:
        assert healthy(service), f"{service} is not healthy"


def collect_personal_data():
    """What the sample events carry, taken from the queue before anything reads it: the same seed gives the same events again."""
    compose("stop", "reader")
    account(summary(compose("run", "--rm", "--no-deps", "-T", "producer")))
    while messages := sqs("ReceiveMessage", MaxNumberOfMessages=10, VisibilityTimeout=5).get("Messages"):
        for message in messages:
            found = re.findall(r'"(?:ip|device_id)"\s*:\s*"([^"]{7,})"', message.get("Body", ""))
            personal.update(found)
    compose("start", "reader")
    assert len(personal) > 50, f"only {len(personal)} values of sample events found"


def rows_and_dead_letters_add_up_to_the_100_sent():
    collect_personal_data()
    assert sent == 100 and to_be_rejected > 0
    settled()
    print(f"    {rows()} rows, dead letters {sorted(letters.values())}")
    table = compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-c", "select * from user_logins")
    assert f"({rows()} rows)" in table
    assert not [value for value in personal if value in table]


def containers_are_confined():
    for service in LASTING:
        found = container(service)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], f"{service} can write to its root file system"
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, service
        status = pathlib.Path(f"/proc/{found['State']['Pid']}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in facts["Uid"].split() or service == "jaeger", f"{service} runs as root"
        assert int(facts["CapEff"], 16) == 0 and facts["NoNewPrivs"] == "1", f"{service} has privileges"
        refused = subprocess.run(["docker", "cp", __file__, f"{found['Id']}:/usr/bin/"], capture_output=True, text=True)
        assert "read-only" in refused.stderr, f"{service} took a file: {refused.stderr}"
        for bindings in (found["NetworkSettings"]["Ports"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or []), f"{service} listens beyond loopback"


def secrets_are_in_files_only():
    password = run("docker", "run", "--rm", "-v", f"{PROJECT}_postgres-secrets:/s:ro", "debian:trixie-slim", "cat", "/s/password").strip()
    assert len(password) == 48
    for service in LASTING:
        found = container(service)
        assert password not in json.dumps(found), f"the database's password is in {service}'s settings"
        assert password not in logs(found), f"the database's password is in {service}'s log"


def only_neighbours_reach_each_other():
    everyone = {service: container(service) for service in LASTING}
    mirror = "deb.debian.org"
    outside = f"(timeout 2 bash -c '</dev/tcp/{socket.gethostbyname(mirror)}/80' 2>/dev/null && echo outside 80) &"
    plain = run("docker", "run", "--rm", "debian:trixie-slim", "bash", "-c", f"{outside}\nwait")
    if "outside" not in plain:
        print("    nothing outside is reached by other containers either")
    for source, found in everyone.items():
        targets = [
            (target, address, port)
            for target, other in everyone.items() if target != source
            for address in addresses(other).values()
            for port in PORTS[target]
        ]
        # From inside the source's own network namespace, all at once.
        attempts = "\n".join(
            f"(timeout 2 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {target} {port}) &" for target, address, port in targets
        )
        names = "\n".join(f"(timeout 2 getent hosts {target} >/dev/null && echo {target} name) &" for target in everyone if target != source)
        script = f"{attempts}\n{names}\n{outside}\nwait"
        output = run("docker", "run", "--rm", "--network", f"container:{found['Id']}", "debian:trixie-slim", "bash", "-c", script)
        reached = {tuple(line.split()) for line in output.splitlines() if len(line.split()) == 2}
        expected = {(target, str(port)) for target in NEIGHBOURS[source] for port in PORTS[target]}
        expected |= {(target, "name") for target in NEIGHBOURS[source]}
        # The two with published ports share a network on which nothing passes; their names are known on it.
        reached -= {("queue", "name"), ("jaeger", "name")} if source in ("queue", "jaeger") else set()
        assert reached == expected, f"{source} reaches {sorted(reached)}, expected {sorted(expected)}"


def replicas_come_and_go_while_events_flow():
    working = {
        "masker": "veilpost_masker_masked_records_total",
        "writer": "veilpost_writer_records_total",
        "reader": "veilpost_reader_deliveries_total",
    }
    with events(20_000, rate=400) as sending:
        scale(masker=3, writer=2, reader=2)
        started = time.monotonic()
        assert len(containers("masker")) == 3 and len(containers("writer")) == 2 and len(containers("reader")) == 2
        for service, metric in working.items():
            wait(f"every {service} works", lambda: all(metrics(one, service).get(metric, 0) > 0 for one in containers(service)), 30)
        print(f"    new replicas worked {time.monotonic() - started:.1f} s after `up` returned")
        assert sending.under_way(), "the events ended before the replicas came"
        scale(masker=1, writer=1, reader=1)
        assert sending.under_way(), "the events ended before the replicas went"
    settled()


def scale(**replicas):
    options = [part for service, count in {**replicas, "producer": 0}.items() for part in ("--scale", f"{service}={count}")]
    compose("up", "--detach", "--no-build", *options)


def killed_containers_lose_and_double_nothing():
    with events(20_000, rate=400, seed="8") as sending:
        for service in ["masker", "writer", "reader", "postgres", "jaeger"]:
            assert sending.under_way(), f"the events ended before {service} was killed"
            killed = container(service)["Id"]
            run("docker", "kill", killed)
            time.sleep(1)
            run("docker", "start", killed)
            wait(f"{service} is healthy again", lambda: healthy(service), 60)
            so_far = rows()
            wait(f"events flow again after {service} was killed", lambda: rows() > so_far + 100, 60)
    settled(180)


def a_crash_is_restarted():
    crashed = container("masker")
    # Not `docker kill`, after which Docker restarts nothing.
    run(*([] if os.geteuid() == 0 else ["sudo", "-n"]), "kill", "-KILL", str(crashed["State"]["Pid"]))
    wait("the masker is restarted", lambda: containers("masker") and container("masker")["RestartCount"] > crashed["RestartCount"], 30)
    wait("the masker is healthy", lambda: healthy("masker"), 60)


def a_queue_that_comes_back_is_read_again():
    killed = container("queue")["Id"]
    run("docker", "kill", killed)
    time.sleep(2)
    run("docker", "start", killed)
    wait("the queue is healthy again", lambda: healthy("queue"), 60)
    account(summary(compose("run", "--rm", "--no-deps", "-T", "producer", "send", "--count", "500", "--seed", "9")))
    settled()


def stopping_leaves_nothing_hidden():
    with events(4_000, rate=400, seed="10"):
        stop("reader")
    attributes = sqs("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0", "messages are still hidden"
    assert waiting() > 0, "the reader read on"
    stop("writer")
    stop("masker")
    compose("start", *SERVICES)
    settled()


def stop(service):
    stopped = container(service)["Id"]
    compose("stop", service)
    status = json.loads(run("docker", "inspect", stopped))[0]["State"]["ExitCode"]
    assert status == 0, f"the {service} ended with exit status {status}"


def traces_lead_from_receive_to_commit():
    producer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    attribute = {"DataType": "String", "StringValue": producer}
    sqs("SendMessage", MessageBody='{"user_id":"traced"}', MessageAttributes={"traceparent": attribute})
    account((1, 0))
    settled()
    time.sleep(6)
    collected = spans.parse(logs(container("jaeger")))
    print(f"    {len(collected)} spans of {sorted({span.service for span in collected})}")
    spans.check(collected, producer.split("-")[2])


def nothing_shows_personal_data():
    for service in LASTING:
        text = logs(container(service))
        shown = [value for value in personal if value in text]
        assert not shown, f"{service} shows {len(shown)} personal values"


def every_setting_can_be_given_in_env():
    configured = json.loads(compose("config", "--format", "json"))["services"]
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / ".env.example").read_text()
    fixed = {"VEILPOST_ADMIN_ADDRESS", "VEILPOST_LISTEN_ADDRESS", "VEILPOST_DOWNSTREAM", "VEILPOST_MIGRATE", "DATABASE_URL"}
    for service in [*SERVICES, "producer"]:
        command = ["send"] if service == "producer" else []
        image = configured[service]["image"]
        usage = run("docker", "run", "--rm", image, *command, "--help")
        variables = set(re.findall(r"\[env:\s+([A-Z_]+)", usage)) - fixed
        assert len(variables) > 5, f"{service} shows only {sorted(variables)}"
        missing = variables - set(configured[service]["environment"])
        assert not missing, f"{service} cannot be given {sorted(missing)}"
    example = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^ +([A-Z_]+):$", text, re.MULTILINE))
    assert not example - used - {"COMPOSE_FILE"}, f".env.example has what nothing reads: {sorted(example - used)}"
    missing = used - example - {"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"}
    assert not missing, f".env.example lacks {sorted(missing)}"


def other_queues_and_databases_need_no_local_ones():
    run_with = {**os.environ, "COMPOSE_FILE": "docker-compose.yml:deploy/compose/aws.yml:deploy/compose/postgres.yml", "AWS_REGION": "eu-west-1",
                "VEILPOST_QUEUE": "q", "VEILPOST_DEAD_LETTER_QUEUE_URL": "d", "DATABASE_URL": "postgres://u@h/d"}
    done = subprocess.run(["docker", "compose", "config", "--format", "json"], env=run_with, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert not {"queue", "postgres", "producer"} & set(services)
    assert services["reader"]["environment"]["AWS_ENDPOINT_URL_SQS"] == "https://sqs.eu-west-1.amazonaws.com"
    assert "queue" not in services["reader"]["networks"] and "postgres" not in services["writer"]["depends_on"]


def alert_rules_and_dashboard_fit_the_metrics():
    compose("up", "--detach", "--no-deps", "--wait", "prometheus")
    prometheus = container("prometheus")
    mounts = ["-v", f"{ROOT}/deploy/compose/prometheus.yml:/etc/prometheus/prometheus.yml:ro", "-v", f"{ROOT}/deploy/alerts:/etc/prometheus/alerts:ro"]
    promtool = lambda *command: run("docker", "run", "--rm", *mounts, "--entrypoint", "promtool", prometheus["Config"]["Image"], *command)
    promtool("check", "config", "/etc/prometheus/prometheus.yml")
    promtool("check", "rules", "/etc/prometheus/alerts/veilpost.yml")
    promtool("test", "rules", "/etc/prometheus/alerts/veilpost_test.yml")
    base = f"http://{addresses(prometheus)['ports']}:9090/api/v1"
    up = lambda: json.loads(fetch(f"{base}/query?query=sum(up)"))["data"]["result"]
    wait("Prometheus scrapes all services", lambda: up() and float(up()[0]["value"][1]) == 3, 60)
    known = set(json.loads(fetch(f"{base}/label/__name__/values"))["data"])
    documented = set(re.findall(r"^\| `(veilpost_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    series = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("veilpost_")}
    assert series <= documented, f"docs/metrics.md lacks {sorted(series - documented)}"
    described = set()
    for source in (ROOT / "services").glob("*/src/**/*.rs"):
        described |= set(re.findall(r'"(veilpost_(?:reader|masker|writer|link|build)_[a-z_]+)"', source.read_text()))
    assert documented == described, f"documented or in the code only: {sorted(documented ^ described)}"
    for path in ["deploy/dashboards/veilpost.json", "deploy/alerts/veilpost.yml"]:
        used = set(re.findall(r"veilpost_[a-z_]+", (ROOT / path).read_text()))
        used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
        assert used <= documented, f"{path} uses {sorted(used - documented)}"
    dashboard = json.loads((ROOT / "deploy/dashboards/veilpost.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m")
            answer = json.loads(fetch(f"{base}/query?query={quote(expression)}"))
            assert answer["status"] == "success", f"{panel['title']}: {answer}"


CHECKS = [
    every_setting_can_be_given_in_env,
    other_queues_and_databases_need_no_local_ones,
    the_images_are_small_and_labelled,
    everything_comes_up_healthy_at_the_first_try,
    rows_and_dead_letters_add_up_to_the_100_sent,
    containers_are_confined,
    secrets_are_in_files_only,
    only_neighbours_reach_each_other,
    traces_lead_from_receive_to_commit,
    replicas_come_and_go_while_events_flow,
    alert_rules_and_dashboard_fit_the_metrics,
    stopping_leaves_nothing_hidden,
    killed_containers_lose_and_double_nothing,
    a_crash_is_restarted,
    a_queue_that_comes_back_is_read_again,
    nothing_shows_personal_data,
]


def show_logs():
    for service in LASTING[:5]:
        for found in containers(service):
            print(f"--- {service}", *logs(found).splitlines()[-12:], sep="\n")


def main():
    failed = 0
    wanted = sys.argv[1:]
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        if wanted and check.__name__ not in wanted:
            continue
        started = time.monotonic()
        try:
            check()
            print(f"ok      {name} ({time.monotonic() - started:.0f} s)")
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error}")
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            # What comes after a stack that is not up only repeats that.
            if failed == 1:
                show_logs()
    total = len([check for check in CHECKS if not wanted or check.__name__ in wanted])
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
