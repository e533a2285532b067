"""A steady load, bounded in rate and number, that knows what it has sent."""

import json
import threading
import time

RATE = 300
MOST = 30_000
ODD = 50


class Load:
    """Sends RATE login events a second until it is stopped; every fiftieth is not JSON, to be rejected."""

    def __init__(self, queue):
        self.queue = queue
        self.sent = 0
        self.failure = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        started = time.monotonic()
        try:
            while self.sent < MOST and not self.over.wait(max(0, started + self.sent / RATE - time.monotonic())):
                numbers = range(self.sent, self.sent + 10)
                entries = [{"Id": str(number % 10), "MessageBody": body(number)} for number in numbers]
                failed = self.queue.call("SendMessageBatch", Entries=entries).get("Failed")
                assert not failed, f"the queue refused {failed}"
                self.sent += len(entries)
        except Exception as failure:
            self.failure = failure

    def end(self):
        self.over.set()
        self.thread.join(60)

    def stop(self):
        """From here on `sent` stays as it is."""
        self.end()
        assert not self.thread.is_alive(), "the load does not stop"
        if self.failure:
            raise self.failure
        assert self.sent < MOST, "the test took longer than its load"

    def rejected(self):
        return len(range(0, self.sent, ODD))


def body(number):
    if number % ODD == 0:
        return "no login"
    return json.dumps({"user_id": f"user-{number}", "device_type": "ios", "ip": f"199.172.{number // 256 % 256}.{number % 256}",
                       "device_id": f"device-{number}", "locale": "NG", "app_version": "2.3.0"})
