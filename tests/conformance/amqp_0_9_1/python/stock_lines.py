"""Publishes five stock lines through an exchange and consumes them: the first program of a new user.

    python stock_lines.py direct|topic|fanout|headers

The broker is at AMQP_URL, or on this machine.
"""

import os
import sys

import pika

LINES = ["1 GOOG 616.47", "2 RHT 42.46", "3 VMW 78.25", "4 CSCO 23.29", "5 IBM 141.43"]
# Exchange, routing key of the messages, binding key and arguments of the queue, headers of the messages.
ROUTES = {
    "direct": ("amq.direct", "stocks", "stocks", None, None),
    "topic": ("amq.topic", "stocks.nyse", "stocks.#", None, None),
    "fanout": ("amq.fanout", "", "", None, None),
    "headers": ("amq.headers", "", "", {"x-match": "all", "kind": "stock"}, {"kind": "stock"}),
}


def main(kind):
    """Sends and receives the lines through the predeclared exchange of this kind."""
    exchange, key, binding_key, arguments, headers = ROUTES[kind]
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, exchange, binding_key, arguments)
        for line in LINES:
            channel.basic_publish(exchange, key, line.encode(), pika.BasicProperties(headers=headers))
        for received, (method, _properties, body) in enumerate(channel.consume(queue), start=1):
            print(body.decode())
            channel.basic_ack(method.delivery_tag)
            if received == len(LINES):
                break
        channel.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROUTES:
        print("usage: python stock_lines.py direct|topic|fanout|headers", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
