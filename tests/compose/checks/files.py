"""docker-compose.yml, .env.example and the overrides, before anything runs."""

import json
import os
import re
import subprocess

from .stack import ROOT, SERVICES, compose, run

# Those that end by themselves; `secrets` lays files out for the others, and is the only one that has to be
# root.
ONCE = {"secrets", "certificates", "writer-role", "migrate", "producer"}


def configuration(*options):
    return json.loads(compose("--profile", "metrics", *options, "config", "--format", "json"))


def every_service_is_limited_watched_and_restarted():
    services = configuration()["services"]
    assert {*SERVICES, *ONCE, "queue", "postgres", "jaeger", "prometheus", "grafana"} <= set(services)
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} is not confined"
        assert service["security_opt"] == ["no-new-privileges:true"], f"{name} may gain privileges"
        assert int(service["mem_limit"]) > 0 and service["pids_limit"] > 0, f"{name} is not limited"
        assert service["restart"] == ("on-failure:5" if name in ONCE else "unless-stopped"), f"{name} is not restarted"
        assert name in ONCE or service.get("healthcheck") or name in SERVICES, f"{name} is not watched"
        assert name == "secrets" or service.get("user", "") != "root", f"{name} runs as root"
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", f"{name} listens beyond loopback"
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how["condition"] == expected, f"{name} does not wait for {needed}"
    # They end before anyone can look from inside.
    assert set(services["producer"]["networks"]) == {"queue"}
    assert set(services["migrate"]["networks"]) == set(services["writer-role"]["networks"]) == {"database"}
    assert services["secrets"]["network_mode"] == services["certificates"]["network_mode"] == "none"


def every_setting_can_be_given_in_env():
    configured = configuration()["services"]
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / ".env.example").read_text()
    fixed = {"VEILPOST_ADMIN_ADDRESS", "VEILPOST_LISTEN_ADDRESS", "VEILPOST_DOWNSTREAM", "VEILPOST_MIGRATE", "VEILPOST_TLS_CALLERS", "DATABASE_URL"}
    for service in [*SERVICES, "producer"]:
        command = ["send"] if service == "producer" else []
        image = configured[service]["image"]
        usage = run("docker", "run", "--rm", image, *command, "--help")
        variables = set(re.findall(r"\[env:\s+([A-Z_]+)", usage)) - fixed
        assert len(variables) > 5, f"{service} shows only {sorted(variables)}"
        missing = variables - set(configured[service]["environment"])
        assert not missing, f"{service} cannot be given {sorted(missing)}"
    example = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^ +([A-Z_]+):$", text, re.MULTILINE))
    assert not example - used - {"COMPOSE_FILE"}, f".env.example has what nothing reads: {sorted(example - used)}"
    missing = used - example - {"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"}
    assert not missing, f".env.example lacks {sorted(missing)}"


def other_queues_and_databases_need_no_local_ones():
    run_with = {**os.environ, "COMPOSE_FILE": "docker-compose.yml:deploy/compose/aws.yml:deploy/compose/postgres.yml", "AWS_REGION": "eu-west-1",
                "VEILPOST_QUEUE": "q", "VEILPOST_DEAD_LETTER_QUEUE_URL": "d", "DATABASE_URL": "postgres://u@h/d"}
    done = subprocess.run(["docker", "compose", "config", "--format", "json"], env=run_with, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert not {"queue", "postgres", "producer"} & set(services)
    assert services["reader"]["environment"]["AWS_ENDPOINT_URL_SQS"] == "https://sqs.eu-west-1.amazonaws.com"
    assert "queue" not in services["reader"]["networks"] and "postgres" not in services["writer"]["depends_on"]


CHECKS = [
    every_service_is_limited_watched_and_restarted,
    every_setting_can_be_given_in_env,
    other_queues_and_databases_need_no_local_ones,
]
