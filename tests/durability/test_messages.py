"""Persistent messages on durable queues are there again after a restart, as they were; transient ones are not."""

import signal
import time
from datetime import datetime, timezone
from decimal import Decimal

import pika
import pytest
from bodies import PERSISTENT, pattern
from node import after
from steps import Inbox, depth, get_bodies, get_one, is_empty


def persistent(**properties):
    return pika.BasicProperties(delivery_mode=2, **properties)


def as_read(properties):
    """What pika reads of properties that it has written."""
    return pika.BasicProperties().decode(b"".join(properties.encode()))


def test_properties_and_headers(node, queue, how):
    headers = {
        "text": "väärtus",
        "bytes": b"\x00\xff",
        "true": True,
        "small": -1,
        "large": 1 << 40,
        "decimal": Decimal("1.25"),
        "time": datetime(2024, 2, 29, 12, 0, tzinfo=timezone.utc).replace(tzinfo=None),
        "nothing": None,
        "list": [1, "two", [3]],
        "table": {"deep": {"deeper": [True, None]}},
    }
    given = dict(
        content_type="application/json",
        content_encoding="gzip",
        headers=headers,
        priority=3,
        correlation_id="correlation",
        reply_to="reply",
        expiration="3600000",
        message_id="message",
        timestamp=1_700_000_000,
        type="type",
        user_id="guest",
        app_id="application",
        cluster_id="cluster",
    )
    channel = node.channel()
    channel.exchange_declare("exchange", "direct", durable=True)
    channel.queue_bind(queue, "exchange", "ключ")
    channel.basic_publish("exchange", "ключ", b"whole", persistent(**given))
    channel.basic_publish("", queue, b"bare", PERSISTENT)
    node.restart(how)
    channel = node.channel()
    whole = get_one(channel, queue)
    assert vars(whole.properties) == vars(as_read(persistent(**given)))
    assert (whole.method.exchange, whole.method.routing_key) == ("exchange", "ключ")
    bare = get_one(channel, queue)
    assert vars(bare.properties) == vars(PERSISTENT)
    assert (bare.method.exchange, bare.method.routing_key, bare.body) == ("", queue, b"bare")


def test_bodies_of_all_sizes_in_order(node, queue, how):
    sizes = [0, 1, 1024, 1 << 20, 5 << 20, (1 << 20) + 1, (1 << 20) - 1, 0, 3]
    channel = node.channel()
    for size in sizes:
        channel.basic_publish("", queue, pattern(size), PERSISTENT)
    node.restart(how)
    assert node.queue(queue)["message_bytes"] == sum(sizes)
    channel = node.channel()
    assert depth(channel, queue) == len(sizes)
    got = [get_one(channel, queue, auto_ack=False) for _ in sizes]
    assert [message.body == pattern(size) for message, size in zip(got, sizes)] == [True] * len(sizes)
    # Half of them settled, and the rest once more.
    for message in got[1::2]:
        channel.basic_ack(message.method.delivery_tag)
    channel.basic_publish("", queue, b"last", PERSISTENT)
    node.restart(how)
    channel = node.channel()
    for size in sizes[0::2]:
        assert get_one(channel, queue).body == pattern(size)
    assert get_one(channel, queue).body == b"last" and is_empty(channel, queue)


def test_order_of_many_messages_on_several_queues(node, how):
    channel = node.channel(confirms=False)
    channel.exchange_declare("fanout", "fanout", durable=True)
    for queue in "abc":
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, "fanout")
    channel.tx_select()
    for number in range(3000):
        channel.basic_publish("fanout", "", f"{number}".encode(), PERSISTENT)
        if number % 500 == 499:
            channel.tx_commit()
    node.restart(how)
    wanted = [f"{number}".encode() for number in range(3000)]
    for queue in "abc":
        assert Inbox(node.channel(), queue, auto_ack=True).wait(3000) == wanted


def test_transient_messages_go(node, queue, how):
    channel = node.channel()
    for number, mode in enumerate((1, 2, None, 2, 1)):
        channel.basic_publish("", queue, f"{number}".encode(), pika.BasicProperties(delivery_mode=mode))
    node.restart(how)
    channel = node.channel()
    assert get_bodies(channel, queue, 2) == [b"1", b"3"] and is_empty(channel, queue)


def test_priorities(node, how):
    channel = node.channel()
    channel.queue_declare("levels", durable=True, arguments={"x-max-priority": 5})
    for number, priority in enumerate((0, 3, 5, 3, 9, None, 1)):
        channel.basic_publish("", "levels", f"{number}".encode(), persistent(priority=priority))
    node.restart(how)
    channel = node.channel()
    assert get_bodies(channel, "levels", 7) == [b"2", b"4", b"1", b"3", b"6", b"0", b"5"]


def test_deadlines_are_moments_and_not_durations(node, how):
    channel = node.channel()
    channel.queue_declare("dead", durable=True)
    dying = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("own", durable=True, arguments=dying)
    channel.queue_declare("timed", durable=True, arguments={"x-message-ttl": 1500, **dying})
    channel.basic_publish("", "own", b"short", persistent(expiration="1500"))
    channel.basic_publish("", "own", b"long", persistent(expiration="3600000"))
    channel.basic_publish("", "timed", b"by the queue", PERSISTENT)
    deadline = time.time() + 1.5
    node.end(how)
    after(deadline)
    node.start()
    # They died while nobody ran: not delivered once more, and with their history.
    channel = node.channel()
    assert get_one(channel, "own").body == b"long" and is_empty(channel, "own")
    assert is_empty(channel, "timed")
    dead = [get_one(channel, "dead") for _ in range(2)]
    assert {message.body for message in dead} == {b"short", b"by the queue"}
    for message in dead:
        (death,) = message.properties.headers["x-death"]
        assert (death["reason"], death["count"]) == ("expired", 1)
        assert message.properties.expiration is None
        assert death.get("original-expiration") == ("1500" if message.body == b"short" else None)


def test_dead_letter_history(node, how):
    channel = node.channel()
    channel.queue_declare("here", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "there"})
    channel.queue_declare("there", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "here"})
    channel.basic_publish("", "here", b"travels", persistent(expiration="3600000", headers={"own": 1}))

    def reject(channel, queue):
        message = get_one(channel, queue, auto_ack=False)
        channel.basic_reject(message.method.delivery_tag, requeue=False)

    def peek(channel, queue):
        message = get_one(channel, queue, auto_ack=False)
        channel.basic_nack(message.method.delivery_tag, requeue=True)
        return message.properties

    for queue in ("here", "there", "here"):
        reject(channel, queue)
    before = peek(channel, "there")
    assert [death["count"] for death in before.headers["x-death"]] == [2, 1]
    channel.queue_declare("barrier", durable=True)  # and what came before is on disk
    node.restart(how)
    channel = node.channel()
    assert vars(peek(channel, "there")) == vars(before)
    # The history goes on.
    reject(channel, "there")
    counts = {death["queue"]: death["count"] for death in peek(channel, "here").headers["x-death"]}
    assert counts == {"here": 2, "there": 2}


def test_a_gentle_end_under_load_keeps_what_was_confirmed(node):
    """Its clients are told to go, and what they were promised before that holds."""
    queue, channel, confirmed = "queue", node.channel(), 0
    channel.queue_declare(queue, durable=True)
    node.process.send_signal(signal.SIGTERM)
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        while True:
            channel.basic_publish("", queue, f"{confirmed}".encode(), PERSISTENT)
            confirmed += 1
    assert node.ended() == 0
    node.start()
    channel = node.channel()
    count = depth(channel, queue)
    assert count in (confirmed, confirmed + 1)
    assert get_bodies(channel, queue, count) == [f"{number}".encode() for number in range(count)]


def test_limits_count_what_came_back(node, how):
    channel = node.channel()
    channel.queue_declare("short", durable=True, arguments={"x-max-length": 3})
    channel.queue_declare("latest", durable=True, arguments={"x-last-value-key": "symbol"})
    for number in range(5):
        channel.basic_publish("", "short", f"{number}".encode(), PERSISTENT)
    for number, symbol in enumerate("abab"):
        channel.basic_publish("", "latest", f"{number}".encode(), persistent(headers={"symbol": symbol}))
    node.restart(how)
    channel = node.channel()
    channel.basic_publish("", "short", b"5", PERSISTENT)
    assert get_bodies(channel, "short", 3) == [b"3", b"4", b"5"] and is_empty(channel, "short")
    channel.basic_publish("", "latest", b"4", persistent(headers={"symbol": "a"}))
    got = get_bodies(channel, "latest", 2)
    assert set(got) == {b"3", b"4"} and is_empty(channel, "latest")


def test_life_goes_on_after_many_restarts(node, queue):
    """Each life adds and takes, and the next one finds exactly that."""
    wanted = []
    for life in range(12):
        channel = node.channel()
        channel.queue_declare(f"of-{life}", durable=True)
        for number in range(10):
            body = f"{life}.{number}".encode()
            channel.basic_publish("", queue, body, PERSISTENT)
            channel.basic_publish("", f"of-{life}", body, PERSISTENT)
            wanted.append(body)
        taken = [get_one(channel, queue, auto_ack=False) for _ in range(5)]
        assert [message.body for message in taken] == wanted[:5]
        channel.basic_ack(taken[-1].method.delivery_tag, multiple=True)
        del wanted[:5]
        channel.queue_declare("barrier", durable=True)
        channel.basic_publish("", "barrier", b"", PERSISTENT)
        node.restart(signal.SIGKILL if life % 2 else signal.SIGTERM)
    channel = node.channel()
    assert get_bodies(channel, queue, len(wanted)) == wanted and is_empty(channel, queue)
    for life in range(12):
        assert get_bodies(channel, f"of-{life}", 10) == [f"{life}.{number}".encode() for number in range(10)]
