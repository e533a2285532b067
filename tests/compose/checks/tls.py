"""The services speak mutual TLS, each with a certificate and a key that no other container sees."""

from .stack import PROJECT, any_address, beside, compose, container, logs, wait

SERVICES = ["reader", "masker", "writer"]
PORTS = {"masker": 50051, "writer": 50052}


def each_service_mounts_its_own_key_and_nobody_the_ca():
    for service in SERVICES:
        mounts = {mount["Destination"]: mount for mount in container(service)["Mounts"]}
        own = mounts["/run/veilpost-tls"]
        assert own["Name"] == f"{PROJECT}_{service}-certificates" and not own["RW"], own
        assert f"{PROJECT}_ca" not in [mount.get("Name") for mount in mounts.values()], f"{service} sees the CA's key"
        found = beside("stat", "-c", "%a %u", "/tls/key.pem", volumes=[f"{own['Name']}:/tls:ro"])
        assert found.split() == ["400", "65532"], f"{service}'s key: {found}"


def plain_text_is_refused():
    for service, port in PORTS.items():
        found = container(service)
        knock = f"exec 3<>/dev/tcp/{any_address(found)}/{port} && printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' >&3 && timeout 5 cat <&3 | od -c"
        beside("bash", "-c", knock, network=found)
        wait(f"{service} says that it was no TLS", lambda: '"not-tls"' in logs(found), 20)


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
    new_certificates_are_taken_over_without_a_restart,
]
