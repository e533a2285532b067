"""Settings, ports and probes are those of the binaries."""

import base64
import re
import unittest
import urllib.parse

from .binaries import known, program
from .kustomizations import ROOT, SERVICES, VARIANTS, containers, named, objects, pod_template, service, variables, workloads
from .variants import each, expanded

# Read by the AWS SDK and by OpenTelemetry's, under their own names.
AWS = {
    "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
}
OTEL = {
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED",
}
SPEAKS_TO_SQS = {"veilpost-reader", "veilpost"}
TRACES = {"veilpost-reader", "veilpost-masker", "veilpost-writer"}


def is_ours(container):
    return program(container["image"]).startswith("veilpost")


def port_of(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


@expanded
class Settings(unittest.TestCase):
    @each(variant=VARIANTS)
    def test_every_variable_is_known_to_its_binary(self, variant):
        checked = 0
        for workload in workloads(objects(variant)):
            for container in filter(is_ours, containers(workload)):
                binary = program(container["image"])
                may = set(known(binary, *container.get("args", [])))
                may |= AWS if binary in SPEAKS_TO_SQS else set()
                may |= OTEL if binary in TRACES else set()
                may |= set(re.findall(r"\$\((\w+)\)", str(container["env"])))
                seen = variables(objects(variant), container).keys() | {one["name"] for one in container["env"]}
                self.assertEqual(seen - may, set(), f"{binary} does not know")
                checked += len(seen)
        self.assertGreater(checked, 20)

    def test_an_unknown_variable_would_be_found(self):
        self.assertNotIn("VEILPOST_WINDOW_MESAGES", known("veilpost-reader"))
        self.assertIn("VEILPOST_WINDOW_MESSAGES", known("veilpost-reader"))

    @each(variant=VARIANTS)
    def test_ports_are_where_the_binaries_listen(self, variant):
        for name in SERVICES:
            (container,) = pod_template(service(objects(variant), name))["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            expected = {"admin": "VEILPOST_ADMIN_ADDRESS", "grpc": "VEILPOST_LISTEN_ADDRESS"}
            own = known(f"veilpost-{name}")
            listens = {port: name for port, name in expected.items() if name in own}
            self.assertEqual(ports.keys(), listens.keys())
            for port, variable in listens.items():
                host, number = port_of(variables(objects(variant), container)[variable])
                self.assertEqual((host, number), ("0.0.0.0", ports[port]))
                self.assertEqual(number, port_of(own[variable])[1], "another port than the binary's default")
            notes = pod_template(service(objects(variant), name))["metadata"]["annotations"]
            self.assertEqual(notes["prometheus.io/port"], str(ports["admin"]))

    @each(variant=VARIANTS)
    def test_probes_ask_the_admin_port_and_liveness_no_downstream(self, variant):
        for name in SERVICES:
            (container,) = pod_template(service(objects(variant), name))["spec"]["containers"]
            asked = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
            self.assertEqual({kind: one["path"] for kind, one in asked.items()}, {
                "startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"})
            self.assertEqual({one["port"] for one in asked.values()}, {"admin"})

    @each(variant=VARIANTS)
    def test_downstreams_are_the_headless_services(self, variant):
        for name, downstream, port in [("reader", "masker", 50051), ("masker", "writer", 50052)]:
            (container,) = pod_template(service(objects(variant), name))["spec"]["containers"]
            seen = variables(objects(variant), container)
            scheme = "http" if variant == "local" else "https"
            self.assertEqual(seen["VEILPOST_DOWNSTREAM"], f"{scheme}://veilpost-{downstream}:{port}")

    @each(variant=VARIANTS)
    def test_logs_are_json_and_migrations_are_left_to_the_init_container(self, variant):
        for name in SERVICES:
            (container,) = pod_template(service(objects(variant), name))["spec"]["containers"]
            self.assertEqual(variables(objects(variant), container)["VEILPOST_LOG_FORMAT"], "json")
        pod = pod_template(service(objects(variant), "writer"))["spec"]
        (migrate,), (writer,) = pod["initContainers"], pod["containers"]
        self.assertEqual((migrate["image"], migrate["args"]), (writer["image"], ["migrate"]))
        self.assertEqual(variables(objects(variant), writer)["VEILPOST_MIGRATE"], "false")

    @each(variant=VARIANTS)
    def test_the_grants_are_for_the_table_that_is_written(self, variant):
        pod = pod_template(service(objects(variant), "writer"))["spec"]
        (migrate,), (writer,) = pod["initContainers"], pod["containers"]
        tables = [variables(objects(variant), one)["VEILPOST_TABLE"] for one in (migrate, writer)]
        self.assertEqual(*tables)

    def test_locally_the_writer_has_the_role_that_is_granted_to_and_not_the_owners_password(self):
        found = objects("local")
        secret = lambda name: {key: base64.b64decode(text).decode() for key, text in named(found, "Secret", name)["data"].items()}
        (migrate,) = pod_template(service(found, "writer"))["spec"]["initContainers"]
        passwords, writer = secret("postgres"), urllib.parse.urlsplit(secret("veilpost-database")["url"])
        owner = urllib.parse.urlsplit(secret("veilpost-database-owner")["url"])
        self.assertEqual((writer.username, writer.password),
                         (variables(found, migrate)["VEILPOST_GRANT_TO"], passwords["writer-password"]))
        self.assertEqual(owner.password, passwords["password"])
        self.assertNotIn(owner.password, [writer.password, writer.username])

    def test_images_are_what_the_dockerfile_makes(self):
        text = (ROOT / "deploy/image/Dockerfile").read_text()
        made = set(re.findall(r'^ENTRYPOINT \["/usr/bin/([\w-]+)"\]$', text, re.MULTILINE))
        run = {program(container["image"]) for one in workloads(objects("local")) for container in containers(one)
               if is_ours(container)}
        self.assertEqual(run, made)
        users = set(re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE))
        context = pod_template(service(objects("local"), "reader"))["spec"]["securityContext"]
        self.assertEqual(users, {(str(context["runAsUser"]), str(context["runAsGroup"]))})

    def test_production_samples_and_the_masker_has_its_keys(self):
        found = objects("production")
        (reader,) = pod_template(service(found, "reader"))["spec"]["containers"]
        self.assertEqual(variables(found, reader)["OTEL_TRACES_SAMPLER"], "parentbased_traceidratio")
        self.assertLess(float(variables(found, reader)["OTEL_TRACES_SAMPLER_ARG"]), 1)
        (masker,) = pod_template(service(found, "masker"))["spec"]["containers"]
        file = variables(found, masker)["VEILPOST_HMAC_KEYS_FILE"]
        self.assertIn(file.rpartition("/")[0], [mount["mountPath"] for mount in masker["volumeMounts"]])
