"""What the pipeline stands between: the embedded queue and a throw-away Postgres, both on the hub."""

import os
import pathlib
import pwd
import subprocess

from .network import HUB, SUBNET, run
from .sqs import Sqs
from .waiting import within

BINARIES = pathlib.Path(os.environ["VEILPOST_BINARIES"])
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


class Queue(Sqs):
    def __init__(self, folder):
        super().__init__(ENDPOINT)
        with open(folder / "queue.log", "w") as log:
            command = [BINARIES / "veilpost", "queue", "--address", f"{HUB}:9324"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        within(20, "the queue answers", lambda: self.waiting() == 0)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
