"""TLS between the services: each has its own certificate, and cert-manager makes the right ones."""

import unittest

from .kustomizations import SERVICES, VARIANTS, named, objects, of_kind, pod_template, service, variables
from .variants import each, expanded

SECURE = [name for name in VARIANTS if name != "local"]

# What each service is in TLS: a client of the next one, a server for the one before.
USAGES = {"reader": {"client auth"}, "masker": {"server auth", "client auth"}, "writer": {"server auth"}}


@expanded
class Tls(unittest.TestCase):
    @each(variant=SECURE)
    def test_the_files_are_whole_mounts_so_that_new_contents_arrive(self, variant):
        for name in SERVICES:
            pod = pod_template(service(objects(variant), name))["spec"]
            (container,) = pod["containers"]
            (volume,) = [one for one in pod["volumes"] if one["name"] == "tls"]
            self.assertEqual(volume["secret"]["secretName"], f"veilpost-{name}-tls")
            self.assertNotIn("items", volume["secret"])
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "tls"]
            self.assertNotIn("subPath", mount, "the kubelet does not renew these")
            seen = variables(objects(variant), container)
            files = {one: seen[f"VEILPOST_TLS_{one}"] for one in ("CERTIFICATE", "KEY", "CA")}
            expected = {"CERTIFICATE": "tls.crt", "KEY": "tls.key", "CA": "ca.crt"}
            self.assertEqual(files, {one: f"{mount['mountPath']}/{file}" for one, file in expected.items()})

    def test_the_local_overlay_is_plain_text(self):
        for name in SERVICES:
            (container,) = pod_template(service(objects("local"), name))["spec"]["containers"]
            self.assertFalse([one for one in variables(objects("local"), container) if "TLS" in one])

    def test_cert_manager_makes_each_secret_with_the_role_and_the_host(self):
        found = objects("production with cert-manager")
        for name in SERVICES:
            made = named(found, "Certificate", f"veilpost-{name}")["spec"]
            self.assertEqual(made["secretName"], f"veilpost-{name}-tls")
            # The role that the services' defaults look for, and the name in the downstream's address, are the
            # same.
            self.assertEqual(made["dnsNames"], [f"veilpost-{name}"])
            self.assertEqual(set(made["usages"]) - {"digital signature"}, USAGES[name])
            named(found, "Issuer", made["issuerRef"]["name"])
        secrets = [one["spec"]["secretName"] for one in of_kind(found, "Certificate")]
        self.assertEqual(sorted(secrets), ["veilpost-ca", *sorted(f"veilpost-{name}-tls" for name in SERVICES)])

    def test_no_pod_sees_the_key_of_the_ca(self):
        for one in of_kind(objects("production with cert-manager"), "Deployment"):
            self.assertNotIn("'veilpost-ca'", str(pod_template(one)["spec"].get("volumes")))
