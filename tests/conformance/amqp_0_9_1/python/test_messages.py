"""Class basic, the message itself: properties, bodies of every size, get, publish, return, recover."""

import datetime

import pika
import pytest
from pika import spec
from steps import (
    Inbox,
    channel_refused,
    closed_later,
    confirming,
    depth,
    fill,
    get_bodies,
    get_one,
    is_empty,
    wait_depth,
)
from waiting import pump_until

EVERY_PROPERTY = dict(
    content_type="text/plain",
    content_encoding="utf-8",
    headers={"text": "value", "number": 7, "flag": True, "nested": {"deep": [1, "two", None]}},
    delivery_mode=2,
    priority=5,
    correlation_id="correlation",
    reply_to="somewhere",
    expiration="60000",
    message_id="message",
    timestamp=1_700_000_000,
    type="a type",
    app_id="an application",
    cluster_id="a cluster",
)


def test_all_properties_come_back(channel, queue, address):
    sent = pika.BasicProperties(user_id=address.user, **EVERY_PROPERTY)
    channel.basic_publish("", queue, b"m", sent)
    received = get_one(channel, queue).properties
    for name, value in {**EVERY_PROPERTY, "user_id": address.user}.items():
        assert getattr(received, name) == value, name


@pytest.mark.parametrize("name", sorted(EVERY_PROPERTY))
def test_one_property_alone(channel, queue, name):
    channel.basic_publish("", queue, b"m", pika.BasicProperties(**{name: EVERY_PROPERTY[name]}))
    received = get_one(channel, queue).properties
    for other in EVERY_PROPERTY:
        assert getattr(received, other) == (EVERY_PROPERTY[name] if other == name else None), other


def test_no_properties_at_all(raw, queue):
    one = raw()
    one.open_channel()
    one.publish(1, "", queue, b"m")
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    assert one.expect_content(1, spec.Basic.GetOk).properties == b"\x00\x00"


@pytest.mark.parametrize("size", [0, 1, 4088, 131064, 131065, 262128, 1_000_000, 5_000_000])
def test_body_of_any_size(channel, queue, size):
    body = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    channel.basic_publish("", queue, body[:size])
    assert get_one(channel, queue).body == body[:size]


def test_frames_to_a_client_keep_its_frame_max(raw, channel, queue):
    body = bytes(range(256)) * 100
    channel.basic_publish("", queue, body)
    wait_depth(channel, queue, 1)
    one = raw(frame_max=4096)
    one.open_channel()
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    frames = [one.read_frame() for _ in range(2 + -(-len(body) // 4088))]
    assert all(len(frame.payload) <= 4088 for frame in frames)
    assert b"".join(frame.payload for frame in frames[2:]) == body


def test_body_in_many_small_frames(raw, channel, queue):
    one = raw()
    one.open_channel()
    body = bytes(range(200))
    one.method(1, spec.Basic.Publish(exchange="", routing_key=queue))
    one.header(1, len(body))
    for octet in body:
        one.frame(3, 1, bytes([octet]))
    assert get_one(channel, queue).body == body


def test_large_body_to_ten_queues(connection, channel, names):
    exchange, body = names.exchange(), bytes(range(256)) * 8192
    channel.exchange_declare(exchange, "fanout")
    queues = [names.queue() for _ in range(10)]
    for queue in queues:
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange)
    confirming(connection).basic_publish(exchange, "", body)
    for queue in queues:
        assert get_one(channel, queue).body == body


def test_order_of_one_publisher_is_kept(connection, queue):
    publisher, inbox = connection.channel(), Inbox(connection.channel(), queue, auto_ack=True)
    sent = [b"%d" % number for number in range(2000)]
    for body in sent:
        publisher.basic_publish("", queue, body)
    assert inbox.wait(len(sent)) == sent


def test_get_empty(channel, queue):
    method, properties, body = channel.basic_get(queue)
    assert (method, properties, body) == (None, None, None)


def test_get_ok_counts_what_is_left(channel, queue):
    fill(channel, queue, b"1", b"2", b"3")
    left = [get_one(channel, queue).method.message_count for _ in range(3)]
    assert left == [2, 1, 0]


def test_get_ok_names_exchange_key_and_redelivery(channel, queue):
    channel.queue_bind(queue, "amq.topic", f"{queue}.#")
    channel.basic_publish("amq.topic", f"{queue}.here", b"m")
    method = get_one(channel, queue, auto_ack=False).method
    assert (method.exchange, method.routing_key, method.redelivered) == ("amq.topic", f"{queue}.here", False)
    channel.basic_reject(method.delivery_tag, requeue=True)
    assert get_one(channel, queue).method.redelivered is True


def test_get_from_a_missing_queue(channel, names):
    missing = names("missing")
    with channel_refused(404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"):
        channel.basic_get(missing)


def test_get_without_ack_holds_the_message(connection, queue):
    channel, other = connection.channel(), connection.channel()
    fill(channel, queue, b"m")
    tag = get_one(channel, queue, auto_ack=False).method.delivery_tag
    assert is_empty(other, queue)
    channel.basic_ack(tag)
    channel.close()
    assert depth(other, queue) == 0


def test_deliver_names_consumer_exchange_and_key(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "#")
    inbox = Inbox(channel, queue, consumer_tag="the consumer")
    channel.basic_publish(exchange, "a.key", b"m")
    inbox.wait(1)
    method = inbox.messages[0].method
    assert (method.consumer_tag, method.exchange, method.routing_key) == ("the consumer", exchange, "a.key")
    assert (method.delivery_tag, method.redelivered) == (1, False)


def test_mandatory_is_returned_with_its_content(connection, channel, names):
    returned = []
    channel.add_on_return_callback(
        lambda _c, method, properties, body: returned.append((method, properties, body))
    )
    properties = pika.BasicProperties(message_id="7", headers={"a": "b"})
    channel.basic_publish("amq.direct", names("nobody"), b"body", properties, mandatory=True)
    pump_until(connection, lambda: returned, "basic.return")
    (method, properties, body) = returned[0]
    assert (method.reply_code, method.reply_text, body) == (312, "NO_ROUTE", b"body")
    assert (properties.message_id, properties.headers) == ("7", {"a": "b"})


def test_mandatory_that_routes_is_not_returned(connection, queue):
    publisher = confirming(connection)
    publisher.basic_publish("", queue, b"m", mandatory=True)
    assert depth(publisher, queue) == 1


def test_unroutable_without_mandatory_is_dropped(connection, names):
    confirming(connection).basic_publish("", names("nobody"), b"m")


def test_recover_with_requeue(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    for _ in range(2):
        get_one(channel, queue, auto_ack=False)
    channel.basic_recover(requeue=True)
    again = [get_one(channel, queue) for _ in range(3)]
    assert [(m.body, m.method.redelivered) for m in again] == [(b"1", True), (b"2", True), (b"3", False)]


def test_recover_async_has_no_reply(raw, channel, queue):
    fill(channel, queue, b"m")
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Get(queue=queue))
    one.expect_content(1, spec.Basic.GetOk)
    one.method(1, spec.Basic.RecoverAsync(requeue=True))
    one.call(1, spec.Exchange.Declare(exchange="amq.direct", passive=True), spec.Exchange.DeclareOk)
    assert get_one(channel, queue).method.redelivered is True


def test_ack_multiple_takes_all_up_to_the_tag(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    tags = [get_one(channel, queue, auto_ack=False).method.delivery_tag for _ in range(3)]
    channel.basic_ack(tags[1], multiple=True)
    channel.close()
    assert get_bodies(connection.channel(), queue, 1) == [b"3"]


def test_nack_multiple_returns_all_up_to_the_tag(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    tags = [get_one(channel, queue, auto_ack=False).method.delivery_tag for _ in range(3)]
    channel.basic_nack(tags[1], multiple=True, requeue=True)
    assert get_bodies(channel, queue, 2) == [b"1", b"2"]
    channel.basic_ack(tags[2])


@pytest.mark.parametrize("settle", ["basic_reject", "basic_nack"])
def test_rejected_without_requeue_is_gone(connection, queue, settle):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2")
    getattr(channel, settle)(get_one(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)
    assert get_bodies(channel, queue, 1) == [b"2"]
    channel.close()
    assert depth(connection.channel(), queue) == 0


def test_rejected_with_requeue_comes_again_to_its_consumer(connection, queue):
    channel = connection.channel()
    inbox = Inbox(channel, queue)
    channel.basic_publish("", queue, b"m")
    inbox.wait(1)
    channel.basic_reject(inbox.messages[0].method.delivery_tag, requeue=True)
    inbox.wait(2)
    assert inbox.messages[1].method.redelivered is True


def test_publish_to_the_default_exchange_of_an_unknown_queue_is_no_error(connection, names):
    channel = connection.channel()
    channel.basic_publish("", names("nobody"), b"m")
    assert channel.queue_declare("", exclusive=True).method.queue


def test_timestamps_in_headers(channel, queue):
    moment = datetime.datetime(2010, 6, 23, 12, 0, tzinfo=datetime.timezone.utc)
    channel.basic_publish("", queue, b"m", pika.BasicProperties(headers={"when": moment}))
    assert get_one(channel, queue).properties.headers["when"] == moment


def test_publishing_after_a_refused_publish_needs_a_new_channel(connection, names, queue):
    channel = connection.channel()
    channel.basic_publish(names("missing"), "k", b"m")
    closed_later(channel, 404)
    with pytest.raises(pika.exceptions.ChannelWrongStateError):
        channel.basic_publish("", queue, b"m")
    fill(connection.channel(), queue, b"m")
