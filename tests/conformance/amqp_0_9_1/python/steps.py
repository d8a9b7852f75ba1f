"""Steps that many cases share, on pika's blocking channels."""

from collections import namedtuple
from contextlib import contextmanager

import pika
import pytest
from raw import check_close
from waiting import pump_until, until

Message = namedtuple("Message", "method properties body")


@contextmanager
def channel_refused(code, text=None):
    """Expects the block to end in channel.close with this code and text (a text ending in '...' is a beginning)."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        yield
    check_close(caught.value, code, text)


@contextmanager
def connection_refused(code, text=None):
    """As `channel_refused`, for connection.close."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        yield
    check_close(caught.value, code, text)


def closed_later(channel, code, text=None):
    """Expects an asynchronous channel.close: waits for it, then checks code and text."""
    pump_until(channel.connection, lambda: channel.is_closed, "channel.close")
    check_close(channel._closing_reason, code, text)  # pika keeps the reason of an asynchronous close here


def get_one(channel, queue, auto_ack=True, deadline=15.0):
    """Polls basic.get until a message is there."""

    def attempt():
        method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
        return Message(method, properties, body) if method else None

    return until(attempt, f"a message in {queue}", deadline)


def get_bodies(channel, queue, count):
    """Gets `count` messages and returns their bodies in order."""
    return [get_one(channel, queue).body for _ in range(count)]


def is_empty(channel, queue):
    """True if basic.get finds nothing. Routing is synchronous with the publisher's confirm: publish with confirms before asking."""
    return channel.basic_get(queue, auto_ack=True)[0] is None


def depth(channel, queue):
    """Ready messages by a passive declare."""
    return channel.queue_declare(queue, passive=True).method.message_count


def consumers(channel, queue):
    """Consumers by a passive declare."""
    return channel.queue_declare(queue, passive=True).method.consumer_count


def wait_depth(channel, queue, count):
    """Waits until the queue has `count` ready messages."""
    until(lambda: depth(channel, queue) == count, f"{count} messages in {queue}")


class Inbox:
    """A consumer that keeps what it is sent: `inbox.bodies`, `inbox.messages`, `inbox.cancelled`."""

    def __init__(self, channel, queue, auto_ack=False, **options):
        self.channel = channel
        self.queue = queue
        self.messages = []
        self.cancelled = False
        channel.add_on_cancel_callback(self._on_cancel)
        self.tag = channel.basic_consume(queue, self._on_message, auto_ack=auto_ack, **options)

    def _on_message(self, _channel, method, properties, body):
        self.messages.append(Message(method, properties, body))

    def _on_cancel(self, frame):
        if frame.method.consumer_tag == self.tag:
            self.cancelled = True

    @property
    def bodies(self):
        """The bodies received so far."""
        return [message.body for message in self.messages]

    def wait(self, count):
        """Waits until `count` messages have come, and returns the bodies."""
        pump_until(self.channel.connection, lambda: len(self.messages) >= count, f"{count} deliveries")
        return self.bodies

    def settled(self):
        """The bodies after two round trips to the queue: a delivery that was due has come with the second at the latest."""
        depth(self.channel, self.queue)
        depth(self.channel, self.queue)
        self.channel.connection.process_data_events(time_limit=0)
        return self.bodies


def confirming(connection):
    """A channel in confirm mode: basic_publish returns after the broker's ack, raises on nack or return."""
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def fill(channel, queue, *bodies, **properties):
    """Publishes to a queue by the default exchange and waits until they are all there."""
    before = depth(channel, queue)
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))
    wait_depth(channel, queue, before + len(bodies))
