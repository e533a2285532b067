"""NetworkPolicies as Kubernetes reads them: who may open a connection to whom.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import dataclasses
import ipaddress

from .kustomizations import of_kind


@dataclasses.dataclass(frozen=True)
class Peer:
    """A pod, or with an address something outside of the cluster."""
    name: str
    labels: tuple = ()
    namespace: str = "veilpost"
    address: str | None = None


def selects(selector: dict, labels: dict) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", []):
        has = {
            "In": lambda: labels.get(one["key"]) in one["values"],
            "NotIn": lambda: labels.get(one["key"]) not in one["values"],
            "Exists": lambda: one["key"] in labels,
            "DoesNotExist": lambda: one["key"] not in labels,
        }[one["operator"]]
        if not has():
            return False
    return True


class Policies:
    def __init__(self, found: list[dict]):
        self.all = of_kind(found, "NetworkPolicy")

    def allow(self, source: Peer, target: Peer, protocol: str, port: int) -> bool:
        """A connection needs the leave of both ends; only pods of Veilpost's namespace are asked."""
        return (self.one_end("egress", source, target, protocol, port)
                and self.one_end("ingress", target, source, protocol, port))

    def one_end(self, direction, pod, other, protocol, port):
        if pod.address or pod.namespace != "veilpost":
            return True
        own = [policy["spec"] for policy in self.all
               if direction.capitalize() in policy["spec"]["policyTypes"]
               and selects(policy["spec"]["podSelector"], dict(pod.labels))]
        if not own:
            return True
        rules = [rule for policy in own for rule in policy.get(direction, [])]
        return any(self.covers(rule, direction, other, protocol, port) for rule in rules)

    def covers(self, rule, direction, other, protocol, port):
        peers = rule.get("to" if direction == "egress" else "from")
        ports = rule.get("ports")
        return ((not peers or any(self.is_peer(peer, other) for peer in peers))
                and (not ports or any((one.get("protocol", "TCP"), one.get("port", port)) == (protocol, port) for one in ports)))

    @staticmethod
    def is_peer(peer, other):
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            inside = lambda cidr: ipaddress.ip_address(other.address) in ipaddress.ip_network(cidr)
            return bool(other.address) and inside(block["cidr"]) and not any(map(inside, block.get("except", [])))
        if other.address:
            return False
        if "namespaceSelector" in peer:
            if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
                return False
        elif other.namespace != "veilpost":
            return False
        return selects(peer.get("podSelector", {}), dict(other.labels))
