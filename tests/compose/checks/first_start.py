"""A newcomer's view after `docker compose up`: everything is healthy, and the sample events are stored."""

import hashlib
import json
import re
import time

from .accounts import accounts
from .stack import (
    DEAD_LETTERS, LASTING, PROJECT, beside, compose, container, containers, healthy, logs, send, sql, sqs, summary, wait, waiting,
)

# What sample events carry; not a line of any log may show it.
personal = set()


def ended(service):
    """The exit status of a container that has ended by itself, as text."""
    found = containers(service, ended=True)
    state = found[0]["State"] if found else {}
    return str(state["ExitCode"]) if state.get("Status") == "exited" else ""


def everything_comes_up_at_the_first_try():
    started = time.monotonic()
    compose("up", "--detach", "--no-build", timeout=600)
    for service in LASTING:
        wait(f"{service} is healthy", lambda: healthy(service), 120)
    print(f"    healthy after {time.monotonic() - started:.0f} s")
    for service in ["secrets", "certificates", "writer-role", "migrate", "producer"]:
        status = wait(f"{service} has ended", lambda: ended(service), 120)
        assert status == "0", f"{service} ended with {status}: {logs(containers(service, ended=True)[0])}"


def rows_and_dead_letters_add_up_to_the_100_sent():
    accounts.add(summary(logs(containers("producer", ended=True)[0])))
    assert accounts.sent == 100 and accounts.to_be_rejected == 10, f"{accounts.sent} sent, {accounts.to_be_rejected} to be rejected"
    wait("the rest is in the dead-letter queue", lambda: waiting(DEAD_LETTERS) == accounts.to_be_rejected, 120)
    listed = compose("run", "--rm", "--no-deps", "-T", "producer", "dead-letters")
    print("    " + listed.strip().replace("\n", "\n    "))
    # The command takes nothing away.
    accounts.settle()
    for message_id, reason in accounts.letters.items():
        assert re.search(rf"^20\S+ +{message_id} +{reason} +\S", listed, re.MULTILINE), f"{message_id} is not listed with {reason}"
    table = compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-c", "select * from user_logins")
    assert "(90 rows)" in table


def what_is_stored_is_masked():
    """Takes clear text from the queue while nobody reads it, and looks for it where it must not be."""
    compose("stop", "reader")
    accounts.add(send("--seed", str(accounts.next_seed())))
    addresses = set()
    while messages := sqs("ReceiveMessage", MaxNumberOfMessages=10, VisibilityTimeout=5).get("Messages"):
        for message in messages:
            found = re.findall(r'"(ip|device_id)"\s*:\s*"([^"]{7,})"', message.get("Body", ""))
            personal.update(value for _, value in found)
            addresses.update(value for name, value in found if name == "ip")
    compose("start", "reader")
    assert len(personal) > 50, f"only {len(personal)} values of sample events found"
    accounts.settle()
    table = sql("select * from user_logins")
    assert not [value for value in personal if value in table], "the table has clear text"
    digests = {hashlib.sha512(address.encode()).hexdigest() for address in addresses}
    stored = {digest for digest in digests if digest in table}
    assert len(stored) > 50, f"only {len(stored)} of {len(digests)} addresses are stored as their SHA-512"


def secrets_are_in_files_only():
    passwords = [secret("postgres", name) for name in ("password", "writer-password")]
    assert [len(password) for password in passwords] == [48, 48] and passwords[0] != passwords[1]
    for service in LASTING:
        found = container(service)
        for password in passwords:
            assert password not in json.dumps(found), f"a password of the database is in {service}'s settings"
            assert password not in logs(found), f"a password of the database is in {service}'s log"


def the_writer_has_a_role_of_its_own():
    owner, own = (secret("postgres", name) for name in ("password", "writer-password"))
    mounts = {mount["Name"] for mount in container("writer")["Mounts"]}
    assert mounts == {f"{PROJECT}_writer-secrets", f"{PROJECT}_writer-certificates"}
    url = secret("writer", "database-url")
    assert own in url and owner not in url, "the writer's secrets are not the writer's own"
    assert sql("select distinct usename from pg_stat_activity where application_name = 'veilpost-writer'") == "veilpost_writer"
    granted = "select string_agg(privilege_type, ' ') from information_schema.role_table_grants where grantee = 'veilpost_writer' and"
    assert sql(f"{granted} table_schema = 'public'") == "INSERT"
    assert sql(f"{granted} table_name = 'migrations'") == ""


def secret(volume, name):
    return beside("cat", f"/secrets/{name}", volumes=[f"{PROJECT}_{volume}-secrets:/secrets:ro"]).strip()


CHECKS = [
    everything_comes_up_at_the_first_try,
    rows_and_dead_letters_add_up_to_the_100_sent,
    what_is_stored_is_masked,
    secrets_are_in_files_only,
    the_writer_has_a_role_of_its_own,
]
