"""The pods of the services, and what they say of themselves."""

import datetime
import json
import urllib.request

from rebalancing.metrics import ADMIN, HANDLED, total

from .forward import Forward


class Pod:
    def __init__(self, cluster, service, name):
        self.cluster = cluster
        self.service = service
        self.name = name
        self.forward = None

    def ask(self, path):
        if not self.forward or not self.forward.is_open():
            self.forward = Forward(self.cluster, f"pod/{self.name}", ADMIN[self.service])
        with urllib.request.urlopen(self.forward.url + path, timeout=10) as answer:
            return answer.read().decode()

    def handled(self):
        return total(self.ask("/metrics"), HANDLED[self.service])

    def has_drained(self):
        """Whether it has ended by itself. A kubelet may remove a pod before it reports its end."""
        found = self.cluster.run("get", f"pod/{self.name}", "--ignore-not-found", "--output=json")
        if not found:
            return True
        ends = [one["state"].get("terminated") for one in json.loads(found)["status"]["containerStatuses"]]
        assert all(end is None or end["exitCode"] == 0 for end in ends), f"{self.name} ended so: {ends}"
        return all(ends)

    def close(self):
        if self.forward:
            self.forward.close()


class Pods:
    """Knows each pod once, so that each has one forward."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.known = {}

    def described(self, service):
        """As the API has them, those that are about to end left out."""
        found = self.cluster.get("pods", f"--selector=app.kubernetes.io/name=veilpost,app.kubernetes.io/component={service}")
        return [one for one in found["items"] if "deletionTimestamp" not in one["metadata"]]

    def of(self, service):
        names = [one["metadata"]["name"] for one in self.described(service)]
        return [self.known.setdefault(name, Pod(self.cluster, service, name)) for name in names]

    def ready(self, service):
        """The pods that are ready, with the time since which they are."""
        since = {}
        for one in self.described(service):
            for condition in one["status"].get("conditions", []):
                if condition["type"] == "Ready" and condition["status"] == "True":
                    since[one["metadata"]["name"]] = moment(condition["lastTransitionTime"])
        return since

    def restarts(self):
        """By pod, how often its containers were started again."""
        found = self.cluster.get("pods")["items"]
        return {one["metadata"]["name"]: sum(state["restartCount"] for state in one["status"].get("containerStatuses", []))
                for one in found}

    def close(self):
        for pod in self.known.values():
            pod.close()


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
