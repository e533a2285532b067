"""The cluster behind one kubectl context, and whether it may be used."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile

NAMESPACE = "veilpost"
OVERLAY = pathlib.Path(__file__).resolve().parents[3] / "deploy/kubernetes/overlays/local"

# Who made the nodes, where nobody minds what happens to them. Other makers are clouds.
THROW_AWAY = {"", "kind", "k3s", "minikube", "k3d"}


class Cluster:
    def __init__(self, context):
        self.context = context
        self.changes = {}

    def command(self, *arguments, namespace=NAMESPACE):
        return ["kubectl", f"--context={self.context}", f"--namespace={namespace}", *arguments]

    def run(self, *arguments, text=None, check=True, seconds=300):
        done = subprocess.run(self.command(*arguments), input=text, capture_output=True, text=True, timeout=seconds)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments):
        return json.loads(self.run("get", *arguments, "--output=json"))

    @functools.cached_property
    def minor(self):
        return int(re.sub(r"\D", "", self.version["minor"]))

    @functools.cached_property
    def version(self):
        return json.loads(self.run("version", "--output=json"))["serverVersion"]

    def refusal(self):
        """Why this cluster must not be used, or None."""
        known = subprocess.run(["kubectl", "config", "get-contexts", "-o", "name"], capture_output=True, text=True).stdout.split()
        if self.context not in known:
            return f"there is no context {self.context}; there are: {' '.join(known)}"
        if re.search("prod|live", self.context, re.IGNORECASE):
            return f"{self.context} sounds like production"
        makers = {node["spec"].get("providerID", "").partition(":")[0] for node in self.get("nodes")["items"]}
        if makers - THROW_AWAY:
            return f"its nodes are machines of {', '.join(makers - THROW_AWAY)}: only a cluster that is to be thrown away will do"
        if self.run("get", "namespace", NAMESPACE, "--ignore-not-found"):
            return f"it has a namespace {NAMESPACE} already; `kubectl delete namespace {NAMESPACE}` removes it and all that is in it"
        return None

    def adapted(self, text):
        """The same for an API server that is older than the objects."""
        return text.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n") if self.minor < 21 else text

    def apply(self, **changes):
        """Applies the overlay with what another kustomization on top of it changes, now and from now on."""
        self.changes |= changes
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder).resolve()
            kustomization = {"resources": [os.path.relpath(OVERLAY, top)], "namespace": NAMESPACE, **self.changes}
            (top / "kustomization.yaml").write_text(json.dumps(kustomization))
            rendered = self.run("kustomize", str(top))
        self.run("apply", "--filename=-", text=self.adapted(rendered))

    def remove(self):
        self.run("delete", "namespace", NAMESPACE, "--timeout=300s")

    def scale(self, name, replicas):
        self.run("scale", f"deployment/{name}", f"--replicas={replicas}")

    def rolled_out(self, what, seconds=240):
        self.run("rollout", "status", what, f"--timeout={seconds}s")

    def evict(self, pod):
        """Asks for a pod's eviction, as the drain of a node does; returns the disruption budget's answer."""
        eviction = {"apiVersion": "policy/v1" if self.minor >= 22 else "policy/v1beta1", "kind": "Eviction",
                    "metadata": {"name": pod, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        done = subprocess.run(self.command("create", f"--raw={path}", "--filename=-"), input=json.dumps(eviction),
                              capture_output=True, text=True, timeout=60)
        return "evicted" if done.returncode == 0 else done.stderr.strip()

    def sql(self, statement):
        command = ("exec", "statefulset/postgres", "--", "psql", "-U", "postgres", "-d", "veilpost", "-At", "-c", statement)
        return self.run(*command).strip()

    def last_words(self):
        """The pods, and the ends of their logs."""
        logs = ("logs", "--selector=app.kubernetes.io/name", "--all-containers", "--prefix", "--tail=3", "--ignore-errors")
        return self.run("get", "pods", "--output=wide", check=False) + self.run(*logs, "--max-log-requests=40", check=False)
