"""Follow kanwa's referrals over RabbitMQ: `python follow_referrals.py amqp://kanwa_dashboard:…@127.0.0.1:5672/%2F`.

Needs pika. The account may make queues below its own name, bind them to kanwa.notifications and read them.
"""

import json
import sys

import pika

url = pika.URLParameters(sys.argv[1])
queue = f"{url.credentials.username}.follow-referrals"
seen: dict[str, int] = {}  # the newest version of each resource; keep it where your results are kept


def receive(channel, method, _properties, body):
    event = json.loads(body)
    resource, _, version = event["subject"].partition("/_history/")
    if int(version) > seen.get(resource, 0):  # at least once: a repeated or older version changes nothing
        seen[resource] = int(version)
        print(event["time"], event["type"], resource, flush=True)
    channel.basic_ack(method.delivery_tag)  # after the effect, never before


with pika.BlockingConnection(url) as connection:
    channel = connection.channel()
    # Durable and replicated: what happens while this program is away waits for it, a week at the longest.
    channel.queue_declare(
        queue, durable=True, arguments={"x-queue-type": "quorum", "x-expires": 7 * 24 * 3600 * 1000}
    )
    for key in ("intake.ServiceRequest.*", "intake.Task.*", "scheduling.#"):
        channel.queue_bind(queue, "kanwa.notifications", key)
    channel.basic_qos(prefetch_count=50)
    channel.basic_consume(queue, receive)
    channel.start_consuming()
