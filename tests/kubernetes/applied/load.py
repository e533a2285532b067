"""Load from a producer in the cluster: load.yaml with another number of messages."""

import itertools
import json
import os
import re

from .cluster import OVERLAY

COUNT = int(os.environ.get("LOAD_COUNT", 30_000))
RATE = int(os.environ.get("LOAD_RATE", 500))

# Other events than the sample's, and other ones each time.
seeds = itertools.count(1_001)


def settings():
    return {"VEILPOST_SEND_COUNT": COUNT, "VEILPOST_SEND_RATE": RATE, "VEILPOST_SEED": next(seeds), "VEILPOST_ODD": 0.02}


class Load:
    def __init__(self, cluster):
        self.cluster = cluster
        template = json.loads(cluster.run("create", f"--filename={OVERLAY / 'load.yaml'}", "--dry-run=client", "--output=json"))
        own = settings()
        (container,) = template["spec"]["template"]["spec"]["containers"]
        container["env"] = [one for one in container["env"] if one["name"] not in own]
        container["env"] += [{"name": name, "value": str(value)} for name, value in own.items()]
        made = cluster.run("create", "--filename=-", "--output=name", text=json.dumps(template))
        self.job = made.strip()

    def under_way(self):
        status = self.cluster.get(self.job)["status"]
        return "completionTime" not in status

    def done(self):
        """How many were sent, and how many of those are to be rejected."""
        seconds = COUNT // RATE + 240
        self.cluster.run("wait", "--for=condition=complete", self.job, f"--timeout={seconds}s", seconds=seconds + 10)
        return summary(self.cluster.run("logs", self.job))


def summary(output):
    sent = re.search(r"Sent ([\d,]+) messages", output)
    rejected = re.search(r"([\d,]+) of those to be rejected", output)
    assert sent and rejected, f"the producer said something else: {output}"
    return tuple(int(found[1].replace(",", "")) for found in (sent, rejected))
