"""The services speak mutual TLS, each with a certificate and a key that no other container sees."""

import sys
import tempfile
from pathlib import Path

from .stack import PROJECT, addresses, any_address, as_root, beside, compose, container, logs, run, wait

SERVICES = ["reader", "masker", "writer"]
PORTS = {"masker": 50051, "writer": 50052}
METHODS = {"masker": "/veilpost.v1.Masker/Mask", "writer": "/veilpost.v1.Writer/Write"}
# Who calls whom, and on which network.
HOPS = [("reader", "masker", "reader-masker"), ("masker", "writer", "masker-writer")]
FILES = "/run/veilpost-tls"
HERE = Path(__file__).parent


def each_service_mounts_its_own_key_and_nobody_the_ca():
    for service in SERVICES:
        mounts = {mount["Destination"]: mount for mount in container(service)["Mounts"]}
        own = mounts[FILES]
        assert own["Name"] == f"{PROJECT}_{service}-certificates" and not own["RW"], own
        assert f"{PROJECT}_ca" not in [mount.get("Name") for mount in mounts.values()], f"{service} sees the CA's key"
        found = beside("stat", "-c", "%a %u", "/tls/key.pem", volumes=[f"{own['Name']}:/tls:ro"])
        assert found.split() == ["400", "65532"], f"{service}'s key: {found}"


def plain_text_is_refused():
    for service, port in PORTS.items():
        found = container(service)
        # The service may hang up after the first line; what counts is what it says.
        preface = "printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' >&3"
        knock = f"exec 3<>/dev/tcp/{any_address(found)}/{port} && {{ {preface}; timeout 5 cat <&3 | od -c; }}"
        beside("bash", "-c", knock, network=found)
        wait(f"{service} says that it was no TLS", lambda: '"not-tls"' in logs(found), 20)


def certificate(service, directory):
    """Copies out what only the service itself has mounted."""
    to = Path(directory) / service
    run("docker", "cp", f"{container(service)['Id']}:{FILES}", str(to))
    return to / "certificate.pem", to / "key.pem"


def call(caller, callee, network, *how):
    """From inside the caller's network namespace."""
    address = addresses(container(callee))[network]
    namespace = f"/proc/{container(caller)['State']['Pid']}/ns/net"
    script = [sys.executable, HERE / "http2.py", address, PORTS[callee], METHODS[callee], *how]
    return as_root("nsenter", f"--net={namespace}", *map(str, script)).strip()


def refused(answer):
    return answer.startswith("refused")


def only_the_right_certificate_is_answered():
    with tempfile.TemporaryDirectory() as directory:
        own = {service: certificate(service, directory) for service in ["reader", "masker", "writer"]}
        authority = Path(directory) / "reader" / "ca.pem"
        for caller, callee, network in HOPS:
            hop = f"{caller} to {callee}"
            over_tls = [callee, authority]
            answer = call(caller, callee, network, *over_tls, *own[caller])
            assert answer == "taken", f"{hop}: with the caller's own certificate a call is {answer}"
            assert refused(call(caller, callee, network)), f"{hop} works in plain text"
            assert refused(call(caller, callee, network, *over_tls)), f"{hop} works without a certificate"
            for other in own.keys() - {caller}:
                answer = call(caller, callee, network, *over_tls, *own[other])
                assert refused(answer), f"{hop} works with the {other}'s certificate"


def new_certificates_are_taken_over_without_a_restart():
    started = {service: container(service)["State"]["StartedAt"] for service in SERVICES}
    compose("run", "--rm", "--no-deps", "-T", "certificates", "certificates", "/certificates", "--renew")
    for service in SERVICES:
        wait(f"{service} has its new certificate", lambda: "certificate replaced" in logs(container(service)), 30)
    for service in SERVICES:
        assert container(service)["State"]["StartedAt"] == started[service], f"{service} was restarted"


CHECKS = [
    each_service_mounts_its_own_key_and_nobody_the_ca,
    plain_text_is_refused,
    only_the_right_certificate_is_answered,
    new_certificates_are_taken_over_without_a_restart,
]
