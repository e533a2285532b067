"""Pods are confined, rolled without loss, and given time to drain."""

import json
import re
import tempfile
import unittest

from .binaries import known
from .kustomizations import (
    SERVICES, VARIANTS, build, containers, copy_of_deploy, named, objects, of_kind, pod_template, seconds, service,
    variables, workloads,
)
from .variants import each, expanded

# Beyond the drain: the last spans, and the kubelet's own overhead.
MARGIN = 10

# Which container mounts which Secret; nothing else mounts any.
MOUNTS = {
    "local": {
        "reader": {"veilpost-queue"}, "writer": {"veilpost-database"}, "migrate": {"veilpost-database-owner"},
        "producer": {"veilpost-queue"}, "postgres": {"postgres"},
    },
    "production": {
        "reader": {"veilpost-reader-tls"}, "masker": {"veilpost-hmac", "veilpost-masker-tls"},
        "writer": {"veilpost-database", "veilpost-writer-tls"}, "migrate": {"veilpost-database-owner"},
    },
}


@expanded
class Pods(unittest.TestCase):
    @each(variant=VARIANTS)
    def test_keep_to_the_restricted_profile(self, variant):
        for workload in workloads(objects(variant)):
            pod = pod_template(workload)["spec"]
            context = pod["securityContext"]
            self.assertIs(context["runAsNonRoot"], True)
            self.assertGreater(context["runAsUser"], 0)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            for field in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertNotIn(field, pod)
            for volume in pod.get("volumes", []):
                self.assertTrue(volume.keys() & {"configMap", "secret", "emptyDir"}, volume)
            for container in containers(workload):
                own = container["securityContext"]
                self.assertIs(own["allowPrivilegeEscalation"], False)
                self.assertIs(own["readOnlyRootFilesystem"], True)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
                self.assertFalse(own.keys() & {"privileged", "runAsUser", "runAsNonRoot"})
                for port in container.get("ports", []):
                    self.assertNotIn("hostPort", port)

    @each(variant=VARIANTS)
    def test_the_namespace_enforces_that_profile(self, variant):
        (namespace,) = of_kind(objects(variant), "Namespace")
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")

    @each(variant=VARIANTS)
    def test_mount_no_service_account_token(self, variant):
        for one in workloads(objects(variant)):
            self.assertIs(pod_template(one)["spec"]["automountServiceAccountToken"], False)
        for one in of_kind(objects(variant), "ServiceAccount"):
            self.assertIs(one["automountServiceAccountToken"], False)
        for name in SERVICES:
            account = pod_template(service(objects(variant), name))["spec"]["serviceAccountName"]
            named(objects(variant), "ServiceAccount", account)

    @each(variant=VARIANTS)
    def test_get_no_variables_of_services(self, variant):
        for one in workloads(objects(variant)):
            self.assertIs(pod_template(one)["spec"]["enableServiceLinks"], False)

    @each(variant=VARIANTS)
    def test_have_resources(self, variant):
        for one in workloads(objects(variant)):
            for container in containers(one):
                self.assertLessEqual({"cpu", "memory"}, container["resources"]["requests"].keys())
                self.assertIn("memory", container["resources"]["limits"])

    @each(variant=VARIANTS)
    def test_get_secrets_as_files_only_and_each_only_its_own(self, variant):
        expected = MOUNTS[VARIANTS[variant][0].removesuffix("-autoscaled")]
        for workload in workloads(objects(variant)):
            volumes = {one["name"]: one for one in pod_template(workload)["spec"].get("volumes", [])}
            for container in containers(workload):
                for source in container.get("envFrom", []):
                    self.assertNotIn("secretRef", source)
                for variable in container.get("env", []):
                    self.assertNotIn("secretKeyRef", variable.get("valueFrom", {}))
                for name in variables(objects(variant), container):
                    if re.search("PASSWORD|SECRET|HMAC|DATABASE_URL|TOKEN|CREDENTIALS", name):
                        self.assertTrue(name.endswith("_FILE"), name)
                secrets = set()
                for mount in container.get("volumeMounts", []):
                    volume = volumes[mount["name"]]
                    if "secret" in volume:
                        secrets.add(re.sub("-[a-z0-9]{10}$", "", volume["secret"]["secretName"]))
                        self.assertEqual(volume["secret"]["defaultMode"], 0o440)
                        self.assertIn("fsGroup", pod_template(workload)["spec"]["securityContext"])
                    if "emptyDir" not in volume:
                        self.assertIs(mount["readOnly"], True)
                self.assertEqual(secrets, expected.get(container["name"], set()), container["name"])

    @each(variant=VARIANTS)
    def test_are_selected_by_what_belongs_to_them(self, variant):
        found = objects(variant)
        labels = {one["metadata"]["name"]: pod_template(one)["metadata"]["labels"] for one in workloads(found)}
        chosen = lambda selector: sorted(
            name for name, own in labels.items() if selector.items() <= own.items())
        for one in of_kind(found, "Deployment", "StatefulSet"):
            self.assertEqual(chosen(one["spec"]["selector"]["matchLabels"]), [one["metadata"]["name"]])
        for one in of_kind(found, "Service"):
            self.assertEqual(chosen(one["spec"]["selector"]), [one["metadata"]["name"]])
        for one in of_kind(found, "PodDisruptionBudget"):
            self.assertEqual(chosen(one["spec"]["selector"]["matchLabels"]), [one["metadata"]["name"]])
        for name in SERVICES:
            named(found, "PodDisruptionBudget", f"veilpost-{name}")
            pod = pod_template(service(found, name))["spec"]
            for constraint in pod["topologySpreadConstraints"]:
                self.assertEqual(chosen(constraint["labelSelector"]["matchLabels"]), [f"veilpost-{name}"])

    @each(variant=VARIANTS)
    def test_services_lead_to_ports_that_exist(self, variant):
        found = objects(variant)
        for one in of_kind(found, "Service"):
            kind = "StatefulSet" if one["metadata"]["name"] == "postgres" else "Deployment"
            ports = {port["name"]: port for container in containers(named(found, kind, one["metadata"]["name"]))
                     for port in container.get("ports", [])}
            for port in one["spec"]["ports"]:
                self.assertEqual(ports[port["targetPort"]]["containerPort"], port["port"])
        for name in ("masker", "writer"):
            self.assertEqual(named(found, "Service", f"veilpost-{name}")["spec"]["clusterIP"], "None")
        self.assertFalse([one for one in of_kind(found, "Service") if one["metadata"]["name"] == "veilpost-reader"])

    @each(variant=VARIANTS)
    def test_are_replaced_before_they_go_and_have_longer_than_the_drain(self, variant):
        found = objects(variant)
        for name in SERVICES:
            deployment = service(found, name)
            self.assertEqual(deployment["spec"]["strategy"]["type"], "RollingUpdate")
            rolling = deployment["spec"]["strategy"]["rollingUpdate"]
            self.assertEqual(rolling["maxUnavailable"], 0)
            self.assertTrue(rolling["maxSurge"])
            (container,) = pod_template(deployment)["spec"]["containers"]
            default = known(f"veilpost-{name}")["VEILPOST_GRACE_PERIOD"]
            drain = seconds(variables(found, container).get("VEILPOST_GRACE_PERIOD", default))
            grace = pod_template(deployment)["spec"]["terminationGracePeriodSeconds"]
            self.assertGreaterEqual(grace, drain + MARGIN)

    def test_production_spreads_over_nodes_and_runs_several_of_each_by_digest(self):
        found = objects("production")
        for name in SERVICES:
            deployment = service(found, name)
            self.assertGreaterEqual(deployment["spec"]["replicas"], 2)
            (term,) = pod_template(deployment)["spec"]["affinity"]["podAntiAffinity"][
                "preferredDuringSchedulingIgnoredDuringExecution"]
            labels = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
            self.assertEqual(labels, deployment["spec"]["selector"]["matchLabels"])

    @each(variant=[name for name in VARIANTS if name != "local"])
    def test_outside_of_the_local_overlay_images_have_digests(self, variant):
        for one in workloads(objects(variant)):
            for container in containers(one):
                self.assertRegex(container["image"], r"^[\w.-]+/[\w./-]+@sha256:[0-9a-f]{64}$")

    def test_locally_images_are_those_that_the_machine_has(self):
        for one in workloads(objects("local")):
            for container in containers(one):
                self.assertRegex(container["image"], r":[\w.-]+$")
                self.assertEqual(container["imagePullPolicy"], "IfNotPresent")

    def test_in_production_only_the_reader_has_a_role(self):
        for one in of_kind(objects("production"), "ServiceAccount"):
            has_role = "eks.amazonaws.com/role-arn" in one["metadata"].get("annotations", {})
            self.assertEqual(has_role, one["metadata"]["name"] == "veilpost-reader")


class Rolling(unittest.TestCase):
    """A changed setting, policy or secret rolls exactly the pods that use it."""

    def changed(self, change) -> set[str]:
        with tempfile.TemporaryDirectory() as folder:
            deploy = copy_of_deploy(folder)
            change(deploy)
            after = build(deploy / "kubernetes/overlays/local")
        template = lambda found, name: json.dumps(pod_template(service(found, name)), sort_keys=True)
        return {name for name in SERVICES if template(after, name) != template(objects("local"), name)}

    def edit(self, path, old, new):
        def change(deploy):
            text = (deploy / path).read_text()
            self.assertIn(old, text)
            (deploy / path).write_text(text.replace(old, new))
        return change

    def test_a_setting_of_one_service(self):
        base = "kubernetes/base"
        for name, old, new in [
            ("reader", "WINDOW_MESSAGES=5000", "WINDOW_MESSAGES=4000"),
            ("masker", "VEILPOST_DOWNSTREAM=", "VEILPOST_RESOLVE_INTERVAL=1s\n      - VEILPOST_DOWNSTREAM="),
            ("writer", "CONNECTIONS=2", "CONNECTIONS=3"),
        ]:
            self.assertEqual(self.changed(self.edit(f"{base}/{name}/kustomization.yaml", old, new)), {name})

    def test_a_setting_of_all(self):
        change = self.edit("kubernetes/base/kustomization.yaml", "VEILPOST_LOG=info", "VEILPOST_LOG=debug")
        self.assertEqual(self.changed(change), set(SERVICES))

    def test_the_policy(self):
        change = self.edit("policies/user_logins.toml", 'unknown_record = "store"', 'unknown_record = "reject"')
        self.assertEqual(self.changed(change), {"masker"})

    def test_a_generated_secret(self):
        path = "kubernetes/overlays/local/kustomization.yaml"
        change = self.edit(path, "url=postgres://postgres:local-only@", "url=postgres://postgres:other@")
        self.assertEqual(self.changed(change), {"writer"})
