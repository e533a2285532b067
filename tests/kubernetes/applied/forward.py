"""A way to a port of a pod or Service that no NetworkPolicy stands in, for as long as it is needed."""

import re
import subprocess


class Forward:
    def __init__(self, cluster, target, port):
        command = cluster.command("port-forward", "--address=127.0.0.1", target, f":{port}")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"Forwarding from (127\.0\.0\.1:\d+)", line)
        if not found:
            self.close()
            raise OSError(f"no way to {target}: {line.strip()}")
        self.url = f"http://{found[1]}"

    def is_open(self):
        return self.process.poll() is None

    def close(self):
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()
