"""Serves an emulator of AWS on loopback and has it deliver events to queues, as SNS, EventBridge and S3 do.

    emulator.py FILE

Writes FILE once everything is delivered: the endpoint and, for each case, a queue, a policy, the columns of
its table, the rows that Veilpost must store, and the reasons of what it must reject. Then serves until
standard input ends.
"""

import json
import logging
import os
import sys
from urllib.parse import quote_plus

REGION = "us-east-1"
ACCOUNT = "123456789012"
os.environ.update(AWS_ACCESS_KEY_ID="veilpost", AWS_SECRET_ACCESS_KEY="veilpost", AWS_DEFAULT_REGION=REGION)
# Dead letters and policies name topics, queues and buckets of this account.
os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT

import boto3  # noqa: E402: the variables above come first
from moto.server import ThreadedMotoServer  # noqa: E402

ORDERS = [
    {"order_id": "1001", "customer": {"city": "Zürich"}, "note": 'a "quoted" \\ text'},
    {"order_id": "1002", "customer": {"city": None}, "note": "two\nlines"},
    {"order_id": "1003", "customer": {}, "note": "\N{PARTY POPPER} 12.50"},
]


def column(name, where, pointer):
    return f'[[column]]\nname = "{name}"\n{where} = "{pointer}"\ntransform = "copy"\n'


def policy(table, body, *columns):
    text = f'table = "{table}"\nunknown_record = "reject"\n\n[body]\n{body}\n\n'
    return text + "\n".join(column(*one) for one in columns)


ORDER_COLUMNS = [
    ("order_id", "source", "/order_id"),
    ("city", "source", "/customer/city"),
    ("note", "source", "/note"),
]


def order_row(order, **more):
    row = {"order_id": order["order_id"], "city": order["customer"].get("city"), "note": order["note"]}
    return row | more


class Aws:
    """The emulator's services, and the queues made so far."""

    def __init__(self, endpoint):
        def client(name):
            return boto3.client(name, region_name=REGION, endpoint_url=endpoint)

        self.sqs, self.sns = client("sqs"), client("sns")
        self.events, self.s3 = client("events"), client("s3")

    def queue(self, name):
        """Creates a queue and its dead-letter queue; returns the queue's ARN."""
        self.sqs.create_queue(QueueName=f"{name}-dead-letter")
        self.sqs.create_queue(QueueName=name)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def topic(self, name, *subscribers):
        """A topic; each subscriber is a queue's ARN and the attributes of its subscription."""
        arn = self.sns.create_topic(Name=name)["TopicArn"]
        for queue, attributes in subscribers:
            self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes=attributes)
        return arn


def sns(aws):
    topic = aws.topic("orders", (aws.queue("sns-orders"), {}))
    for order in ORDERS:
        tenant = {"tenant": {"DataType": "String", "StringValue": "acme"}}
        aws.sns.publish(TopicArn=topic, Message=json.dumps(order), Subject="order", MessageAttributes=tenant)
    envelope = [
        ("topic", "envelope", "/TopicArn"),
        ("subject", "envelope", "/Subject"),
        ("tenant", "envelope", "/MessageAttributes/tenant/Value"),
    ]
    return {
        "queue": "sns-orders",
        "policy": policy("sns_orders", 'unwrap = "sns"', *ORDER_COLUMNS, *envelope),
        "rows": [order_row(order, topic=topic, subject="order", tenant="acme") for order in ORDERS],
    }


def sns_raw_and_wrapped(aws):
    """One queue that is subscribed to two topics, to one of them with raw delivery."""
    queue = aws.queue("mixed-orders")
    raw = aws.topic("raw-orders", (queue, {"RawMessageDelivery": "true"}))
    wrapped = aws.topic("wrapped-orders", (queue, {}))
    tenant = {"tenant": {"DataType": "String", "StringValue": "acme"}}
    for order in ORDERS:
        aws.sns.publish(TopicArn=wrapped, Message=json.dumps(order))
        aws.sns.publish(TopicArn=raw, Message=json.dumps(order), MessageAttributes=tenant)
    columns = [*ORDER_COLUMNS, ("tenant", "attribute", "tenant")]
    return {
        "queue": "mixed-orders",
        "policy": policy("mixed_orders", 'unwrap = "sns"\nallow_unwrapped = true', *columns),
        "rows": [order_row(order, tenant=tenant) for order in ORDERS for tenant in (None, "acme")],
    }


def sns_batches(aws):
    """A producer that publishes arrays, and one message without a record."""
    topic = aws.topic("order-batches", (aws.queue("sns-batches"), {}))
    for orders in (ORDERS, [], ORDERS[:1]):
        aws.sns.publish(TopicArn=topic, Message=json.dumps({"orders": orders}))
    return {
        "queue": "sns-batches",
        "policy": policy("sns_batches", 'unwrap = "sns"\nrecords = "/orders"', *ORDER_COLUMNS),
        "rows": [order_row(order) for order in [*ORDERS, ORDERS[0]]],
    }


def eventbridge(aws):
    queue = aws.queue("bridged-orders")
    aws.events.put_rule(Name="orders", EventPattern=json.dumps({"source": ["shop"]}))
    aws.events.put_targets(Rule="orders", Targets=[{"Id": "queue", "Arn": queue}])
    entries = [{"Source": "shop", "DetailType": "order placed", "Detail": json.dumps(order)} for order in ORDERS]
    aws.events.put_events(Entries=entries)
    envelope = [("kind", "envelope", "/detail-type"), ("shop", "envelope", "/source")]
    return {
        "queue": "bridged-orders",
        "policy": policy("bridged_orders", 'unwrap = "eventbridge"', *ORDER_COLUMNS, *envelope),
        "rows": [order_row(order, kind="order placed", shop="shop") for order in ORDERS],
    }


def s3_columns():
    return [
        ("event", "source", "/eventName"),
        ("bucket", "source", "/s3/bucket/name"),
        ("key", "source", "/s3/object/key"),
        ("size", "source", "/s3/object/size"),
    ]


def s3_rows(bucket, keys):
    """S3 encodes keys as in a URL."""
    common = {"event": "ObjectCreated:Put", "bucket": bucket, "size": "5"}
    return [common | {"key": quote_plus(key)} for key in keys]


def s3(aws, name="files", how='records = "/Records"', destination=None):
    """Notifications of a bucket, straight to the queue or, with `destination`, by a topic.

    The first one is S3's test event, which has no records.
    """
    queue = aws.queue(name)
    target = destination(aws, queue) if destination else {"QueueConfigurations": [{"QueueArn": queue}]}
    for configuration in target.values():
        configuration[0]["Events"] = ["s3:ObjectCreated:*"]
    aws.s3.create_bucket(Bucket=name)
    aws.s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=target)
    keys = ["a.csv", "2026/b.csv"]
    for key in keys:
        aws.s3.put_object(Bucket=name, Key=key, Body=b"12345")
    table = name.replace("-", "_")
    return {
        "queue": name,
        "policy": policy(table, how, *s3_columns()),
        "rows": s3_rows(name, keys),
        "rejected": ["not-an-array"],
    }


def s3_by_sns(aws):
    def by_topic(aws, queue):
        return {"TopicConfigurations": [{"TopicArn": aws.topic("file-events", (queue, {}))}]}

    return s3(aws, "topic-files", 'unwrap = "sns"\nrecords = "/Records"', by_topic)


def waiting_messages(aws, name):
    url = aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def main(path):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    aws = Aws(endpoint)
    cases = [make(aws) for make in (sns, sns_raw_and_wrapped, sns_batches, eventbridge, s3, s3_by_sns)]
    for case in cases:
        case["table"] = case["policy"].split('"')[1]
        case["columns"] = list(case["rows"][0])
        case.setdefault("rejected", [])
        print(f"{case['queue']}: {waiting_messages(aws, case['queue'])} messages", flush=True)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump({"endpoint": endpoint, "cases": cases}, file)
    os.replace(f"{path}.part", path)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1])
