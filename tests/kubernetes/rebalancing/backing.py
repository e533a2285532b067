"""What the pipeline stands between: the embedded queue and a throw-away Postgres, both on the hub."""

import json
import os
import pathlib
import pwd
import subprocess
import urllib.request

from .network import HUB, SUBNET, run
from .waiting import within

BINARIES = pathlib.Path(os.environ["VEILPOST_BINARIES"])
QUEUE, DEAD_LETTERS = "user-logins", "user-logins-dead-letter"
ENDPOINT = f"http://{HUB}:9324"

# The queue takes anybody's word; the SDK wants to have something to sign with.
CREDENTIALS = {
    "AWS_ENDPOINT_URL": ENDPOINT,
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "veilpost",
    "AWS_SECRET_ACCESS_KEY": "veilpost",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Postgres:
    URL = f"postgres://postgres@{HUB}:5432/postgres"

    def __init__(self, folder):
        owner = next(user for user in map(known_user, ("postgres", "nobody")) if user)
        self.programs = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.folder = folder / "postgres"
        self.folder.mkdir()
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": self.folder}
        data = self.folder / "data"
        run(self.programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", **as_owner)
        with open(data / "pg_hba.conf", "a") as access:
            access.write(f"host all all {SUBNET} trust\n")
        settings = (f"listen_addresses={HUB}", f"unix_socket_directories={self.folder}")
        command = [self.programs / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))]
        with open(folder / "postgres.log", "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_owner)
        within(60, "Postgres answers", lambda: self.sql("select 1", check=False) == "1")

    def sql(self, statement, check=True):
        command = [self.programs / "psql", "-h", self.folder, "-U", "postgres", "-At", "-c", statement]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60).stdout.strip()

    def number(self, statement):
        return int(self.sql(statement))

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def known_user(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


class Queue:
    def __init__(self, folder):
        with open(folder / "queue.log", "w") as log:
            command = [BINARIES / "veilpost", "queue", "--address", f"{HUB}:9324"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        within(20, "the queue answers", lambda: self.waiting() == 0)

    def call(self, action, queue=QUEUE, **parameters):
        parameters["QueueUrl"] = f"{ENDPOINT}/000000000000/{queue}"
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=veilpost/20200101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host, Signature=none",
        }
        request = urllib.request.Request(ENDPOINT + "/", json.dumps(parameters).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def waiting(self):
        """Messages in the queue, hidden ones among them."""
        attributes = self.call("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(attributes[count]) for count in counts)

    def dead_letters(self):
        """The original ids of the messages in the dead-letter queue, which it empties."""
        found = set()
        receive = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "VisibilityTimeout": 600}
        while messages := self.call("ReceiveMessage", DEAD_LETTERS, **receive).get("Messages"):
            found |= {message["MessageAttributes"]["veilpost.message-id"]["StringValue"] for message in messages}
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
