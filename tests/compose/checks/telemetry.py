"""The stack's telemetry: traces as a third-party receiver gets them, metrics as Prometheus has them, logs."""

import json
import re
import time
from urllib.parse import quote

from . import spans
from .accounts import accounts
from .first_start import personal
from .stack import LASTING, ROOT, addresses, compose, container, containers, fetch, logs, run, sqs, wait


def received():
    return spans.parse(logs(container("jaeger")))


def one_trace_leads_from_the_receive_to_the_commit_and_the_delete():
    producer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    attribute = {"DataType": "String", "StringValue": producer}
    sqs("SendMessage", MessageBody='{"user_id":"traced"}', MessageAttributes={"traceparent": attribute})
    accounts.add((1, 0))
    accounts.settle()
    linked = lambda: any(producer.split("-")[2] in span.links for span in received())
    wait("the batch with the link to its producer is exported", linked, 30)
    time.sleep(6)
    collected = received()
    print(f"    {len(collected)} spans of {sorted({span.service for span in collected})}")
    spans.check_tree(collected)
    spans.check_content(collected, producer.split("-")[2])
    shown = spans.small_whole_trace(collected)
    print("   ", "\n    ".join(spans.drawn(shown, next(span for span in shown if not span.parent))))


def shared_calls_are_linked_with_every_batch_that_they_serve():
    spans.check_links(received())


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
        described |= set(re.findall(r'"(veilpost_(?:reader|masker|writer|link|tls|build|refused)_[a-z_]+)"', source.read_text()))
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


def log_lines_lead_to_traces():
    ids = {span.id for span in received()}
    lines = [json.loads(line) for line in logs(container("reader")).splitlines() if line.startswith("{")]
    rejected = [line for line in lines if line.get("message") == "rejected"]
    assert rejected, "the reader's log has no rejection"
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) for line in rejected)
    assert {line["span_id"] for line in rejected} <= ids, "log lines name spans that were never exported"


def nothing_shows_personal_data():
    assert personal, "nothing is known to look for"
    for service in [*LASTING, "secrets", "migrate", "producer", "prometheus"]:
        for found in containers(service, ended=True):
            text = logs(found)
            shown = [value for value in personal if value in text]
            assert not shown, f"{service} shows {len(shown)} personal values"


CHECKS = [
    one_trace_leads_from_the_receive_to_the_commit_and_the_delete,
    log_lines_lead_to_traces,
    alert_rules_and_dashboard_fit_the_metrics,
]
AT_THE_END = [shared_calls_are_linked_with_every_batch_that_they_serve, nothing_shows_personal_data]
