"""What consumers did before a restart: settled, held, given back, committed."""

import signal

import pika
import pytest
from bodies import PERSISTENT, pattern
from steps import Inbox, depth, get_bodies, get_one, is_empty


def test_redelivered_is_told_where_it_may_be_true(node, how):
    channel = node.channel()
    for queue in ("never", "held", "returned"):
        channel.queue_declare(queue, durable=True)
        for body in (b"1", b"2"):
            channel.basic_publish("", queue, body, PERSISTENT)
    get_one(channel, "held", auto_ack=False)
    channel.basic_nack(get_one(channel, "returned", auto_ack=False).method.delivery_tag, requeue=True)
    # Behind all of it, so that it is on disk: what a crash finds before that is another case.
    channel.basic_publish("", "never", b"3", PERSISTENT)
    node.restart(how)
    channel = node.channel()
    flags = {
        queue: [get_one(channel, queue, auto_ack=False).method.redelivered for _ in range(count)]
        for queue, count in (("never", 3), ("held", 2), ("returned", 2))
    }
    # Nobody can tell after a crash what had been on its way.
    assert flags["never"] == [how == signal.SIGKILL] * 3
    assert flags["held"][0] and flags["returned"][0]
    channel.basic_publish("", "held", b"barrier", PERSISTENT)
    node.restart(how)
    assert get_one(node.channel(), "never").method.redelivered, "it has been delivered meanwhile"


def test_a_held_message_is_flagged_whenever_the_crash_comes(node):
    """The crash comes at once when the client has the message: the flag must not wait for anything after it."""
    channel = node.channel()
    for number in range(20):
        channel.queue_declare(f"held-{number}", durable=True)
        channel.basic_publish("", f"held-{number}", b"1", PERSISTENT)
    unflagged = []
    for number in range(20):
        channel.basic_consume(f"held-{number}", lambda *_delivery: node.process.kill())
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            while True:
                channel.connection.process_data_events(time_limit=1)
        node.ended()
        node.start()
        channel = node.channel()
        if not get_one(channel, f"held-{number}").method.redelivered:
            unflagged.append(number)
    assert unflagged == []


DELIVERY_LIMIT = """
policies:
  - name: few-returns
    pattern: "^limited$"
    apply_to: queues
    definition: {delivery-limit: 3, dead-letter-exchange: "", dead-letter-routing-key: dead}
"""


def test_delivery_counts(make_node, how):
    node = make_node(DELIVERY_LIMIT).start()
    channel = node.channel()
    channel.queue_declare("limited", durable=True)
    channel.queue_declare("dead", durable=True)
    channel.basic_publish("", "limited", b"1", PERSISTENT)

    def give_back(channel):
        message = get_one(channel, "limited", auto_ack=False)
        channel.basic_nack(message.method.delivery_tag, requeue=True)

    give_back(channel)
    give_back(channel)
    channel.basic_publish("", "dead", b"barrier", PERSISTENT)
    node.restart(how)
    channel = node.channel()
    assert get_bodies(channel, "dead", 1) == [b"barrier"]
    assert depth(channel, "limited") == 1
    give_back(channel)
    give_back(channel)
    message = get_one(channel, "dead")
    assert message.properties.headers["x-death"][0]["reason"] == "delivery_limit"
    assert is_empty(channel, "limited")


def test_what_was_settled_stays_settled(node, how):
    channel = node.channel()
    for queue in ("acked", "purged", "rejected", "taken", "consumed"):
        channel.queue_declare(queue, durable=True)
        for number in range(10):
            channel.basic_publish("", queue, f"{number}".encode(), PERSISTENT)
    got = [get_one(channel, "acked", auto_ack=False).method.delivery_tag for _ in range(8)]
    channel.basic_ack(got[1])
    channel.basic_ack(got[6], multiple=True)
    channel.queue_purge("purged")
    for _ in range(3):
        channel.basic_reject(get_one(channel, "rejected", auto_ack=False).method.delivery_tag, requeue=False)
    channel.basic_nack(get_one(channel, "rejected", auto_ack=False).method.delivery_tag, requeue=True)
    get_bodies(channel, "taken", 4)
    inbox = Inbox(channel, "consumed", auto_ack=True)
    inbox.wait(10)
    # Confirmed on the same connection behind all of it: what came before is on disk as well.
    channel.basic_publish("", "purged", b"barrier", PERSISTENT)
    for _ in range(2):
        node.restart(how)
        counts = {queue["name"]: queue["messages"] for queue in node.ask("/api/queues")}
        assert counts == {"acked": 3, "purged": 1, "rejected": 7, "taken": 6, "consumed": 0}
    channel = node.channel()
    assert get_bodies(channel, "acked", 3) == [b"7", b"8", b"9"]
    assert get_bodies(channel, "purged", 1) == [b"barrier"]
    assert get_bodies(channel, "rejected", 7) == [f"{number}".encode() for number in range(3, 10)]
    assert get_bodies(channel, "taken", 6) == [f"{number}".encode() for number in range(4, 10)]


def test_a_gentle_end_keeps_what_nothing_confirmed(node, queue):
    channel = node.channel(confirms=False)
    for number in range(500):
        channel.basic_publish("", queue, f"{number}".encode(), PERSISTENT)
    inbox = Inbox(channel, queue)
    inbox.wait(500)
    for message in inbox.messages[:300]:
        channel.basic_ack(message.method.delivery_tag)
    node.restart(signal.SIGTERM)
    channel = node.channel()
    wanted = [f"{number}".encode() for number in range(300, 500)]
    again = Inbox(channel, queue)
    assert again.wait(200) == wanted and all(message.method.redelivered for message in again.messages)


def test_transactions(node, how):
    channel = node.channel()
    for queue in ("source", "a", "b", "c"):
        channel.queue_declare(queue, durable=True)
    for number in range(4):
        channel.basic_publish("", "source", f"{number}".encode(), PERSISTENT)
    tx = channel.connection.channel()
    tx.tx_select()

    def move(body, *queues):
        tx.basic_ack(get_one(tx, "source", auto_ack=False).method.delivery_tag)
        for queue in queues:
            tx.basic_publish("", queue, body, PERSISTENT)

    move(b"committed", "a", "b", "c")
    tx.basic_publish("", "a", pattern(3 << 20), PERSISTENT)
    tx.basic_publish("", "b", b"transient")
    tx.tx_commit()
    move(b"rolled back", "a", "b")
    tx.tx_rollback()
    move(b"open", "a", "b", "c")
    # The open one has arrived, and so have its parts.
    depth(tx, "source")
    channel.basic_publish("", "c", b"barrier", PERSISTENT)
    node.restart(how)
    channel = node.channel()
    assert get_bodies(channel, "source", 3) == [b"1", b"2", b"3"] and is_empty(channel, "source")
    assert get_bodies(channel, "a", 2) == [b"committed", pattern(3 << 20)] and is_empty(channel, "a")
    assert get_bodies(channel, "b", 1) == [b"committed"] and is_empty(channel, "b")
    assert get_bodies(channel, "c", 2) == [b"committed", b"barrier"] and is_empty(channel, "c")
    node.restart(how)
    assert all(queue["messages"] == 0 for queue in node.ask("/api/queues") if queue["name"] == "source")
