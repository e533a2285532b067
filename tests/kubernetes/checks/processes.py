"""The binaries start with exactly the variables and files of the rendered pods, and answer the probes."""

import base64
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from .binaries import BINARIES, program
from .kustomizations import SERVICES, named, objects, pod_template, service, variables
from .variants import each, expanded

OVERLAYS = ["local", "production"]

# Nobody listens there: what is outside is away, which no probe of ours may mind.
NOWHERE = "127.0.0.1:9"


def certificates():
    """The Secrets of TLS, with what `veilpost certificates` makes under the names that cert-manager uses."""
    names = {"tls.crt": "certificate.pem", "tls.key": "key.pem", "ca.crt": "ca.pem"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([BINARIES / "veilpost", "certificates", folder], check=True, capture_output=True)
        return {
            f"veilpost-{service}-tls": {
                key: (pathlib.Path(folder) / service / file).read_text() for key, file in names.items()}
            for service in SERVICES
        }


# Secrets that are made outside of the overlay.
SECRETS = certificates() | {
    "veilpost-database": {"url": f"postgres://writer:x@{NOWHERE}/events"},
    "veilpost-database-owner": {"url": f"postgres://owner:x@{NOWHERE}/events"},
    "veilpost-hmac": {"keys": "k1=" + "0f" * 32},
}


def files(found, volume):
    if "configMap" in volume:
        return named(found, "ConfigMap", volume["configMap"]["name"])["data"]
    name = volume["secret"]["secretName"]
    if name in SECRETS:
        return SECRETS[name]
    data = named(found, "Secret", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def environment(found, pod, container, folder):
    """The container's variables, with its files in `folder` and everything outside of it nowhere."""
    seen = variables(found, container)
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        inside = pathlib.Path(folder) / mount["mountPath"].lstrip("/")
        inside.mkdir(parents=True)
        for name, text in files(found, volumes[mount["name"]]).items():
            (inside / name).write_text(re.sub(r"@[\w.-]+:\d+/", f"@{NOWHERE}/", text))
        seen = {name: value.replace(mount["mountPath"], str(inside)) for name, value in seen.items()}
    for name, value in seen.items():
        value = re.sub(r"(https?)://[\w.-]+(:\d+)?", rf"\1://{NOWHERE}", value)
        seen[name] = re.sub(r"^0\.0\.0\.0:\d+$", "127.0.0.1:0", value)
    # No reader of this test may look for a real queue.
    return seen | {"AWS_ENDPOINT_URL": f"http://{NOWHERE}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@contextlib.contextmanager
def running(found, workload, container, own={}):
    """Runs the container's program with its variables and `own` ones; one without a value is removed."""
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+") as log:
        command = [BINARIES / program(container["image"]), *container.get("args", [])]
        variables = environment(found, pod_template(workload)["spec"], container, folder) | own
        variables = {name: value for name, value in variables.items() if value is not None}
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process, pathlib.Path(folder) / "log"
        finally:
            process.kill()
            process.wait()


def patiently(attempt, process, log):
    """What `attempt` returns once it returns something."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended with status {process.returncode}: {log.read_text()}")
        if (result := attempt()) is not None:
            return result
        time.sleep(0.05)
    raise AssertionError(f"took too long: {log.read_text()}")


def lines(log):
    for line in log.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def admin_address(log):
    return next((line["address"] for line in lines(log) if line.get("port") == "admin"), None)


def status(address, path):
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@expanded
class Processes(unittest.TestCase):
    def starts(self, overlay, name, readiness):
        """With its downstream away, the service is alive, and as ready as it can be."""
        found = objects(overlay)
        deployment = service(found, name)
        (container,) = pod_template(deployment)["spec"]["containers"]
        path = lambda probe: container[probe]["httpGet"]["path"]
        with running(found, deployment, container) as (process, log):
            address = patiently(lambda: admin_address(log), process, log)
            self.assertEqual(status(address, path("startupProbe")), 200)
            self.assertEqual(status(address, path("livenessProbe")), 200)
            if readiness == 200:
                patiently(lambda: status(address, path("readinessProbe")) == 200 or None, process, log)
            else:
                time.sleep(0.5)
                self.assertEqual(status(address, path("readinessProbe")), readiness)
            notes = pod_template(deployment)["metadata"]["annotations"]
            self.assertEqual(status(address, notes["prometheus.io/path"]), 200)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0, log.read_text())

    @each(overlay=OVERLAYS)
    def test_the_reader_is_alive_without_a_queue(self, overlay):
        self.starts(overlay, "reader", 503)

    def test_the_reader_keeps_the_keys_of_its_credentials_file_to_itself(self):
        found = objects("local")
        deployment = service(found, "reader")
        (container,) = pod_template(deployment)["spec"]["containers"]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "credentials"
            file.write_text("[default]\naws_access_key_id = AKIAMARKED\naws_secret_access_key = marked-secret\n")
            own = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
            with running(found, deployment, container, own) as (process, log):
                refused = lambda: next((True for line in lines(log) if line.get("level") == "WARN"), None)
                patiently(refused, process, log)
                self.assertNotRegex(log.read_text(), "AKIAMARKED|marked-secret")

    @each(overlay=OVERLAYS)
    def test_the_masker_is_alive_without_a_writer(self, overlay):
        self.starts(overlay, "masker", 503)

    @each(overlay=OVERLAYS)
    def test_the_writer_is_alive_without_a_database(self, overlay):
        self.starts(overlay, "writer", 503)

    @each(overlay=OVERLAYS)
    def test_the_migrations_wait_for_the_database(self, overlay):
        found = objects(overlay)
        deployment = service(found, "writer")
        (container,) = pod_template(deployment)["spec"]["initContainers"]
        with running(found, deployment, container) as (process, log):
            waits = lambda: next((True for line in lines(log) if line.get("level") == "WARN"), None)
            patiently(waits, process, log)

    def test_the_queue_answers_its_probe_and_takes_the_producers_events(self):
        found = objects("local")
        deployment, producer = named(found, "Deployment", "queue"), named(found, "Job", "producer")
        (container,), (sender,) = (pod_template(one)["spec"]["containers"] for one in (deployment, producer))
        with running(found, deployment, container) as (process, log):
            endpoint = lambda: (re.findall(r"AWS_ENDPOINT_URL=http://(\S+)", log.read_text()) or [None])[0]
            address = patiently(endpoint, process, log)
            for probe in ("livenessProbe", "readinessProbe"):
                self.assertEqual(status(address, container[probe]["httpGet"]["path"]), 200)
            with tempfile.TemporaryDirectory() as folder:
                variables = environment(found, pod_template(producer)["spec"], sender, folder)
                variables["AWS_ENDPOINT_URL"] = f"http://{address}"
                del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
                command = [BINARIES / program(sender["image"]), *sender["args"]]
                sent = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
            self.assertEqual(sent.returncode, 0, sent.stderr)
            self.assertIn("Sent 100 messages", sent.stdout)
