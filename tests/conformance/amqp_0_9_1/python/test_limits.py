"""Limits and lifetimes: length and overflow, time to live, priorities, dead-lettering chains."""

import pika
import pytest
from steps import Inbox, confirming, depth, fill, get_bodies, get_one, is_empty, wait_depth
from waiting import until


def declare(channel, names, **arguments):
    """A queue with RabbitMQ's arguments, spelled with underscores."""
    queue = names.queue()
    channel.queue_declare(
        queue, arguments={f"x-{name.replace('_', '-')}": v for name, v in arguments.items()}
    )
    return queue


def publish(connection, queue, *bodies, **properties):
    """Publishes with confirms."""
    channel = confirming(connection)
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))
    channel.close()


def test_drop_head_keeps_the_newest(connection, channel, names):
    queue = declare(channel, names, max_length=3)
    publish(connection, queue, b"1", b"2", b"3", b"4", b"5")
    assert get_bodies(channel, queue, 3) == [b"3", b"4", b"5"]


def test_max_length_0_keeps_nothing(connection, channel, names):
    queue = declare(channel, names, max_length=0)
    publish(connection, queue, b"1")
    assert depth(channel, queue) == 0


def test_both_limits_hold(connection, channel, names):
    queue = declare(channel, names, max_length=3, max_length_bytes=10)
    publish(connection, queue, b"aaaa", b"bbbb", b"cccc")
    assert get_bodies(channel, queue, 2) == [b"bbbb", b"cccc"]
    publish(connection, queue, b"1", b"2", b"3", b"4")
    assert get_bodies(channel, queue, 3) == [b"2", b"3", b"4"]


def test_body_larger_than_max_length_bytes(connection, channel, names):
    queue = declare(channel, names, max_length_bytes=10)
    publish(connection, queue, b"x" * 11)
    assert depth(channel, queue) == 0


def test_reject_publish_keeps_the_oldest(connection, channel, names):
    queue = declare(channel, names, max_length=2, overflow="reject-publish")
    publish(connection, queue, b"1", b"2")
    with pytest.raises(pika.exceptions.NackError):
        publish(connection, queue, b"3")
    assert get_bodies(channel, queue, 2) == [b"1", b"2"]
    publish(connection, queue, b"4")
    assert get_one(channel, queue).body == b"4"


def test_reject_publish_dlx_dead_letters_the_newest(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    queue = declare(
        channel,
        names,
        max_length=1,
        overflow="reject-publish-dlx",
        dead_letter_exchange="",
        dead_letter_routing_key=target,
    )
    publish(connection, queue, b"1")
    with pytest.raises(pika.exceptions.NackError):
        publish(connection, queue, b"2")
    message = get_one(channel, target)
    assert (message.body, message.properties.headers["x-death"][0]["reason"]) == (b"2", "maxlen")
    assert get_bodies(channel, queue, 1) == [b"1"]


def test_queue_ttl_drops_the_old(connection, channel, names):
    queue = declare(channel, names, message_ttl=50)
    publish(connection, queue, b"1", b"2")
    until(lambda: depth(channel, queue) == 0, "expiry")
    assert is_empty(channel, queue)


def test_queue_ttl_0_delivers_now_or_drops(connection, channel, names):
    queue = declare(channel, names, message_ttl=0)
    publish(connection, queue, b"nobody waits")
    assert depth(channel, queue) == 0
    inbox = Inbox(channel, queue)
    publish(connection, queue, b"somebody waits")
    assert inbox.wait(1) == [b"somebody waits"]


def test_expiration_of_a_message(connection, channel, queue):
    publish(connection, queue, b"short", expiration="50")
    publish(connection, queue, b"long", expiration="600000")
    wait_depth(channel, queue, 1)
    assert get_one(channel, queue).body == b"long"


def test_the_shorter_of_both_ttls_wins(connection, channel, names):
    patient, hasty = declare(channel, names, message_ttl=600000), declare(channel, names, message_ttl=50)
    publish(connection, patient, b"m", expiration="50")
    publish(connection, hasty, b"m", expiration="600000")
    until(lambda: depth(channel, patient) == depth(channel, hasty) == 0, "expiry of both")


def test_held_message_does_not_expire(connection, channel, names):
    queue, control = declare(channel, names, message_ttl=50), declare(channel, names, message_ttl=100)
    publish(connection, queue, b"held")
    held = get_one(channel, queue, auto_ack=False)
    publish(connection, control, b"control")
    until(lambda: depth(channel, control) == 0, "expiry of the control message")
    channel.basic_ack(held.method.delivery_tag)
    assert channel.queue_declare("", exclusive=True).method.queue


def test_expired_message_dead_letters_in_order(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    queue = declare(channel, names, message_ttl=50, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(connection, queue, b"1", b"2", b"3")
    assert get_bodies(channel, target, 3) == [b"1", b"2", b"3"]


def test_a_chain_of_dead_letters_is_told_in_full(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    second = declare(channel, names, message_ttl=10, dead_letter_exchange="", dead_letter_routing_key=target)
    first = declare(channel, names, max_length=0, dead_letter_exchange="", dead_letter_routing_key=second)
    publish(connection, first, b"m")
    headers = get_one(channel, target).properties.headers
    assert [(d["queue"], d["reason"]) for d in headers["x-death"]] == [(second, "expired"), (first, "maxlen")]
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"]) == (first, "maxlen")


def test_retry_with_a_waiting_queue(connection, channel, names):
    work = names.queue()
    wait = declare(channel, names, message_ttl=20, dead_letter_exchange="", dead_letter_routing_key=work)
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
    publish(connection, work, b"task")
    for attempt in range(3):
        message = get_one(channel, work, auto_ack=False)
        deaths = (message.properties.headers or {}).get("x-death", [])
        counts = {(death["queue"], death["reason"]): death["count"] for death in deaths}
        assert counts.get((work, "rejected"), 0) == attempt
        channel.basic_nack(message.method.delivery_tag, requeue=False)


def test_dead_letter_keeps_properties_and_headers(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    queue = declare(channel, names, max_length=0, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(connection, queue, b"m", message_id="7", headers={"mine": "kept"}, delivery_mode=2, priority=3)
    properties = get_one(channel, target).properties
    assert (properties.message_id, properties.delivery_mode, properties.priority) == ("7", 2, 3)
    assert properties.headers["mine"] == "kept"


def test_dead_letter_through_a_topic_keeps_the_key(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    source = declare(channel, names, max_length=0, dead_letter_exchange=exchange)
    channel.queue_bind(queue, exchange, source)
    publish(connection, source, b"m")
    message = get_one(channel, queue)
    assert (message.method.exchange, message.method.routing_key) == (exchange, source)


def test_dead_letter_to_an_exchange_that_routes_nowhere_is_dropped(connection, channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queue = declare(channel, names, max_length=1, dead_letter_exchange=exchange)
    publish(connection, queue, b"1", b"2")
    assert get_bodies(channel, queue, 1) == [b"2"]


def test_nack_multiple_dead_letters_all(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    queue = declare(channel, names, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(connection, queue, b"1", b"2", b"3")
    tags = [get_one(channel, queue, auto_ack=False).method.delivery_tag for _ in range(3)]
    channel.basic_nack(tags[2], multiple=True, requeue=False)
    assert sorted(get_bodies(channel, target, 3)) == [b"1", b"2", b"3"]


def test_priority_orders_what_waits_fifo_within_a_level(connection, channel, names):
    queue = declare(channel, names, max_priority=10)
    for body, priority in ((b"a1", 1), (b"b9", 9), (b"c5", 5), (b"d9", 9), (b"e1", 1)):
        publish(connection, queue, body, priority=priority)
    assert get_bodies(channel, queue, 5) == [b"b9", b"d9", b"c5", b"a1", b"e1"]


def test_priority_to_a_consumer(connection, channel, names):
    queue = declare(channel, names, max_priority=5)
    for body, priority in ((b"low", 0), (b"high", 5)):
        publish(connection, queue, body, priority=priority)
    assert Inbox(channel, queue).wait(2) == [b"high", b"low"]


def test_priority_and_requeue_keep_the_level(connection, channel, names):
    queue = declare(channel, names, max_priority=5)
    publish(connection, queue, b"low", priority=1)
    publish(connection, queue, b"high", priority=4)
    held = get_one(channel, queue, auto_ack=False)
    channel.basic_nack(held.method.delivery_tag, requeue=True)
    wait_depth(channel, queue, 2)
    assert get_bodies(channel, queue, 2) == [b"high", b"low"]


def test_overflow_of_a_priority_queue_drops_its_head(connection, channel, names):
    queue = declare(channel, names, max_priority=5, max_length=2)
    for body, priority in ((b"high", 5), (b"low", 1), (b"middle", 3)):
        publish(connection, queue, body, priority=priority)
    assert get_bodies(channel, queue, 2) == [b"middle", b"low"]


def test_limits_survive_a_purge(connection, channel, names):
    queue = declare(channel, names, max_length=2)
    publish(connection, queue, b"1", b"2")
    channel.queue_purge(queue)
    publish(connection, queue, b"3", b"4", b"5")
    assert get_bodies(channel, queue, 2) == [b"4", b"5"]


def test_requeue_over_the_limit_drops_from_the_head(connection, channel, names):
    queue = declare(channel, names, max_length=1)
    publish(connection, queue, b"1")
    held = get_one(channel, queue, auto_ack=False)
    fill(channel, queue, b"2")
    channel.basic_nack(held.method.delivery_tag, requeue=True)
    assert get_one(channel, queue).body == b"2"
    assert depth(channel, queue) == 0
