"""The composed stack as user and operator see it: compose, containers, SQL, the queue's protocol, metrics."""

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.request

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME", "veilpost-check")
ROOT = pathlib.Path(__file__).resolve().parents[3]
QUEUE = "user-logins"
DEAD_LETTERS = "user-logins-dead-letter"
SERVICES = ["reader", "masker", "writer"]
LASTING = [*SERVICES, "queue", "postgres", "jaeger"]
ADMIN = {"reader": 9101, "masker": 9102, "writer": 9103}


def run(*command, check=True, timeout=300):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def as_root(*command):
    return run(*([] if os.geteuid() == 0 else ["sudo", "-n"]), *command)


def compose(*arguments, **options):
    return run("docker", "compose", *arguments, **options)


def wait(what, condition, seconds):
    """Returns what `condition` gives once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.5)


def beside(*command, network=None, volumes=()):
    """Runs a command in a container of its own, in the network namespace of another one if that is named."""
    options = ["--label", f"com.docker.compose.project={PROJECT}"]
    options += ["--network", f"container:{network['Id']}"] if network else []
    options += [part for volume in volumes for part in ("--volume", volume)]
    return run("docker", "run", "--rm", *options, "debian:trixie-slim", *command)


def containers(service, ended=False):
    """What Docker knows of the running containers of a service, or of all that have ever run."""
    labels = [f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={service}", "com.docker.compose.oneoff=False"]
    which = "-aq" if ended else "-q"
    ids = run("docker", "ps", which, *(part for label in labels for part in ("--filter", f"label={label}"))).split()
    return json.loads(run("docker", "inspect", *ids)) if ids else []


def container(service):
    found = containers(service)
    assert found, f"no container of {service} runs"
    return found[0]


def addresses(container):
    """The container's addresses by the networks' names, without the project's."""
    networks = container["NetworkSettings"]["Networks"]
    return {name.split("_", 1)[1]: network["IPAddress"] for name, network in networks.items() if network["IPAddress"]}


def any_address(container):
    return next(iter(addresses(container).values()))


def logs(container):
    done = subprocess.run(["docker", "logs", container["Id"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.stdout


def healthy(service, replicas=1):
    found = containers(service)
    return len(found) == replicas and all(one["State"].get("Health", {}).get("Status") == "healthy" for one in found)


def sql(statement):
    return compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-At", "-c", statement).strip()


def rows():
    return int(sql("select count(*) from user_logins"))


def fetch(url, data=None, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=30) as answer:
        return answer.read().decode()


def sqs(action, queue=QUEUE, **parameters):
    endpoint = f"http://{any_address(container('queue'))}:9324"
    parameters["QueueUrl"] = f"{endpoint}/000000000000/{queue}"
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"AmazonSQS.{action}",
        "Authorization": "AWS4-HMAC-SHA256 Credential=veilpost/20200101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=none",
    }
    answer = fetch(endpoint + "/", json.dumps(parameters).encode(), headers)
    return json.loads(answer) if answer.strip() else {}


def waiting(queue=QUEUE):
    """Messages in a queue, hidden ones among them."""
    attributes = sqs("GetQueueAttributes", queue, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def take_dead_letters():
    """Empties the dead-letter queue: by the original message's id, the reason."""
    letters = {}
    while True:
        messages = sqs("ReceiveMessage", DEAD_LETTERS, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
        if not messages:
            return letters
        for message in messages:
            attributes = message["MessageAttributes"]
            letters[attributes["veilpost.message-id"]["StringValue"]] = attributes["veilpost.reason"]["StringValue"]
        entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)]
        sqs("DeleteMessageBatch", DEAD_LETTERS, Entries=entries)


def metrics(container, service):
    """The sum over the labels of each metric."""
    sums = {}
    for line in fetch(f"http://{any_address(container)}:{ADMIN[service]}/metrics").splitlines():
        found = re.match(r"([a-z_]+)(?:\{.*\})? ([0-9.eE+-]+)$", line)
        if found:
            sums[found[1]] = sums.get(found[1], 0) + float(found[2])
    return sums


class Sending:
    """Sample events on their way, while other things happen. Every seed gives other events."""

    def __init__(self, count, seed, rate=None, odd="0.02"):
        command = ["docker", "compose", "run", "--rm", "--no-deps", "-T", "producer", "send", "--count", str(count), "--odd", odd, "--seed", str(seed)]
        if rate:
            command += ["--rate", str(rate)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def under_way(self):
        return self.process.poll() is None

    def done(self):
        """How many were sent, and how many of those are to be rejected."""
        output, errors = self.process.communicate(timeout=600)
        assert self.process.returncode == 0, f"the producer failed: {errors[-2000:]}"
        return summary(output)

    def over(self):
        """Waits for its end, however that comes."""
        self.process.communicate(timeout=600)


def summary(output):
    sent = re.search(r"Sent ([\d,]+) messages", output)
    rejected = re.search(r"([\d,]+) of those to be rejected", output)
    assert sent and rejected, f"the producer said something else: {output}"
    return tuple(int(found[1].replace(",", "")) for found in (sent, rejected))


def send(*options):
    """Sends sample events and waits until all are sent."""
    return summary(compose("run", "--rm", "--no-deps", "-T", "producer", "send", *options, timeout=600))
