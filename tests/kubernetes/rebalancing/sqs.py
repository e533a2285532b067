"""The embedded queue in its own protocol, wherever it listens."""

import json
import urllib.request

QUEUE, DEAD_LETTERS = "user-logins", "user-logins-dead-letter"


class Sqs:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    def call(self, action, queue=QUEUE, **parameters):
        parameters["QueueUrl"] = f"{self.endpoint}/000000000000/{queue}"
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=veilpost/20200101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host, Signature=none",
        }
        request = urllib.request.Request(self.endpoint + "/", json.dumps(parameters).encode(), headers)
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
