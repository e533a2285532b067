"""One replica of a service: the real binary on a host of its own."""

import itertools
import pathlib
import re
import signal
import subprocess
import urllib.request

from .backing import BINARIES, CREDENTIALS, Postgres
from .metrics import ADMIN, HANDLED, total
from .network import Host, run
from .sqs import DEAD_LETTERS, QUEUE
from .waiting import within

POLICY = pathlib.Path(__file__).resolve().parents[3] / "deploy/policies/user_logins.toml"

# A downstream's name, as on Kubernetes; the writers' is asked by the maskers.
NAMES = {"masker": "veilpost-masker.veilpost.svc.cluster.local", "writer": "veilpost-writer.veilpost.svc.cluster.local"}
PORTS = {"masker": 50051, "writer": 50052}

SETTINGS = {
    "reader": CREDENTIALS
    | {
        "VEILPOST_QUEUE": QUEUE,
        "VEILPOST_DEAD_LETTER_QUEUE_URL": DEAD_LETTERS,
        "VEILPOST_DOWNSTREAM": f"http://{NAMES['masker']}:{PORTS['masker']}",
        "VEILPOST_VISIBILITY_TIMEOUT": "15s",
    },
    "masker": {"VEILPOST_POLICY": str(POLICY), "VEILPOST_DOWNSTREAM": f"http://{NAMES['writer']}:{PORTS['writer']}"},
    "writer": {"DATABASE_URL": Postgres.URL, "VEILPOST_TABLE": "user_logins"},
}

numbers = itertools.count(1)


def make_certificates(folder):
    """A CA, and for each service a folder with its certificate."""
    hosts = (f"--masker-hosts={NAMES['masker']}", f"--writer-hosts={NAMES['writer']}")
    run(BINARIES / "veilpost", "certificates", folder, *hosts)
    return folder


def encrypted(settings, own):
    """What makes a replica use mutual TLS on both sides."""
    files = {"CERTIFICATE": "certificate.pem", "KEY": "key.pem", "CA": "ca.pem"}
    tls = {f"VEILPOST_TLS_{name}": str(own / file) for name, file in files.items()}
    if downstream := settings.get("VEILPOST_DOWNSTREAM"):
        tls["VEILPOST_DOWNSTREAM"] = downstream.replace("http://", "https://")
    return tls


class Replica:
    def __init__(self, service, logs, certificates=None):
        self.service = service
        self.name = f"{service}-{next(numbers)}"
        self.host = Host()
        self.address = self.host.address
        settings = SETTINGS[service] | {
            "VEILPOST_ADMIN_ADDRESS": f"0.0.0.0:{ADMIN[service]}",
            "VEILPOST_LOG_FORMAT": "json",
            "OTEL_SDK_DISABLED": "true",
        }
        if certificates:
            settings |= encrypted(settings, certificates / service)
        if service in PORTS:
            settings["VEILPOST_LISTEN_ADDRESS"] = f"0.0.0.0:{PORTS[service]}"
        command = self.host.command(BINARIES / f"veilpost-{service}")
        with open(logs / f"{self.name}.log", "w") as log:
            settings["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
            self.process = subprocess.Popen(command, env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, path):
        with urllib.request.urlopen(f"http://{self.address}:{ADMIN[self.service]}{path}", timeout=5) as answer:
            return answer.read().decode()

    def ready(self):
        within(30, f"{self.name} is ready", lambda: self.ask("/readyz"))
        return self

    def metric(self, name):
        return total(self.ask("/metrics"), name)

    def handled(self):
        return self.metric(HANDLED[self.service])

    def unreceipted(self):
        """What it has sent and got no receipt for, by address, for as long as it knows the address."""
        found = re.findall(r'^veilpost_link_unreceipted_records\{address="([^"]+):\d+"\} (\S+)$', self.ask("/metrics"), re.MULTILINE)
        return {address: float(value) for address, value in found}

    def told_to_end(self):
        self.process.send_signal(signal.SIGTERM)
        return self

    def ended(self, seconds=40):
        """Waits until it has drained."""
        status = self.process.wait(seconds)
        assert status == 0, f"{self.name} ended with status {status}"
        self.host.remove()

    def killed(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
