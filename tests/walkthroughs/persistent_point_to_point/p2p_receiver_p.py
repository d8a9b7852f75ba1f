"""Reads the messages of the durable queue until END comes. It declares nothing: all is there, or it fails.

The broker is at AMQP_URL, or on this machine.
"""

import os
import sys
from pathlib import Path

import pika

sys.path.insert(0, str(Path(__file__).parents[1]))

from stocks import END  # noqa: E402 - beside this folder

QUEUE = "topics_d"


def main():
    """Acknowledges each message behind its line."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for method, _properties, body in channel.consume(QUEUE):
            channel.basic_ack(method.delivery_tag)
            if body.decode() == END:
                break
            print(f"Reading message: {body.decode()}")
        channel.cancel()


if __name__ == "__main__":
    main()
