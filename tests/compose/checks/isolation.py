"""What containers may not do: write, be root, reach anyone but their neighbours."""

import pathlib
import socket
import subprocess

from .stack import LASTING, addresses, beside, compose, container

# Who reaches whom, tried from inside every container; everything else is forbidden.
NEIGHBOURS = {
    "queue": {"reader"},
    "reader": {"queue", "masker", "jaeger", "prometheus"},
    "masker": {"reader", "writer", "jaeger", "prometheus"},
    "writer": {"masker", "postgres", "jaeger", "prometheus"},
    "postgres": {"writer"},
    "jaeger": {"reader", "masker", "writer", "prometheus"},
    "prometheus": {"reader", "masker", "writer", "jaeger"},
}
PORTS = {
    "queue": [9324],
    "reader": [9101],
    "masker": [50051, 9102],
    "writer": [50052, 9103],
    "postgres": [5432],
    "jaeger": [4317],
    "prometheus": [9090],
}
# Their ports are published. They share a network on which nothing passes, but names are known.
PUBLISHED = {"queue", "jaeger", "prometheus"}


def containers_are_confined():
    for service in LASTING:
        found = container(service)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], f"{service} can write to its root file system"
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, service
        status = pathlib.Path(f"/proc/{found['State']['Pid']}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in facts["Uid"].split(), f"{service} runs as root"
        assert int(facts["CapEff"], 16) == 0 and facts["NoNewPrivs"] == "1", f"{service} has privileges"
        refused = subprocess.run(["docker", "cp", __file__, f"{found['Id']}:/usr/bin/"], capture_output=True, text=True)
        assert "read-only" in refused.stderr, f"{service} took a file: {refused.stderr}"


def outside():
    """An address beyond Docker that other containers reach, if there is one."""
    try:
        address = socket.gethostbyname("deb.debian.org")
    except OSError:
        return None
    return address if beside("bash", "-c", f"{attempt('outside', address, 80)}\nwait") else None


def attempt(name, address, port):
    return f"(timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {name} {port}) &"


def reached_from(source, everyone, beyond):
    """Names and ports, all tried at once from inside the source's own network namespace."""
    others = {target: found for target, found in everyone.items() if target != source}
    attempts = [
        attempt(target, address, port)
        for target, found in others.items() for address in addresses(found).values() for port in PORTS[target]
    ]
    attempts += [f"(timeout 3 getent hosts {target} >/dev/null && echo {target} name) &" for target in others]
    attempts += [attempt("outside", beyond, 80)] if beyond else []
    output = beside("bash", "-c", "\n".join([*attempts, "wait"]), network=everyone[source])
    return {tuple(line.split()) for line in output.splitlines() if len(line.split()) == 2}


def only_neighbours_reach_each_other():
    compose("up", "--detach", "--no-deps", "--wait", "prometheus")
    everyone = {service: container(service) for service in NEIGHBOURS}
    beyond = outside()
    if not beyond:
        print("    nothing outside is reached by other containers either")
    tried = 0
    for source in everyone:
        reached = set()
        expected = {(target, what) for target in NEIGHBOURS[source] for what in [*map(str, PORTS[target]), "name"]}
        # A slow machine may be too late for what is allowed, never early for what is not.
        for _ in range(3):
            reached |= reached_from(source, everyone, beyond)
            if expected <= reached:
                break
        if source in PUBLISHED:
            reached -= {(target, "name") for target in PUBLISHED - NEIGHBOURS[source]}
        assert reached == expected, f"{source} reaches {sorted(reached)}, expected {sorted(expected)}"
        tried += len(everyone) - 1
    print(f"    {tried} pairs tried, {sum(map(len, NEIGHBOURS.values()))} of them allowed")


CHECKS = [containers_are_confined, only_neighbours_reach_each_other]
