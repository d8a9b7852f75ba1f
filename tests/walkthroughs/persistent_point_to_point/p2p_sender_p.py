"""Sends the stock lines as persistent messages through a durable topic exchange to a durable queue, and END.

The broker is at AMQP_URL, or on this machine.
"""

import os
import sys
from pathlib import Path

import pika

sys.path.insert(0, str(Path(__file__).parents[1]))

from stocks import END, LINES  # noqa: E402 - beside this folder

EXCHANGE, QUEUE, KEY = "message_topics", "topics_d", "topics.stock"
PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent.value)


def main():
    """Declares what is to outlive the broker, and sends; each message is on the broker's disk when the call returns."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, EXCHANGE, "topics.#")
        channel.confirm_delivery()
        for line in LINES:
            print(f"Sending message: {line}")
            channel.basic_publish(EXCHANGE, KEY, line.encode(), PERSISTENT, mandatory=True)
        channel.basic_publish(EXCHANGE, KEY, END.encode(), PERSISTENT, mandatory=True)


if __name__ == "__main__":
    main()
