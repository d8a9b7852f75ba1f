"""Traps 20 to 25: dead-lettering, requeue, direct reply-to, properties, limits, time and end."""

import re

import pika
import pytest
from pika import spec
from raw import BODY
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
from waiting import until

REPLY_TO = "amq.rabbitmq.reply-to"


def with_dlx(channel, names, exchange="", key=None, **arguments):
    """A queue that dead-letters to `exchange` (and with `key`, if given)."""
    queue = names.queue()
    dead = {"x-dead-letter-exchange": exchange}
    if key is not None:
        dead["x-dead-letter-routing-key"] = key
    channel.queue_declare(queue, arguments={**dead, **arguments})
    return queue


def reject_one(channel, queue):
    """Gets a message and rejects it for good."""
    channel.basic_reject(get_one(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)


def test_trap_20_cc_stays_without_a_new_routing_key_and_bcc_goes(channel, names):
    exchange, target = names.exchange(), names.queue()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(target)
    channel.queue_bind(target, exchange)
    source = with_dlx(channel, names, exchange)
    headers = {"CC": ["copy"], "BCC": ["blind"]}
    channel.basic_publish("", source, b"m", pika.BasicProperties(headers=headers))
    reject_one(channel, source)
    message = get_one(channel, target)
    assert message.method.routing_key == source
    assert message.properties.headers["CC"] == ["copy"]
    assert "BCC" not in message.properties.headers


def test_trap_20_a_new_routing_key_removes_the_cc(channel, names):
    target = names.queue()
    channel.queue_declare(target)
    source = with_dlx(channel, names, key=target)
    channel.basic_publish("", source, b"m", pika.BasicProperties(headers={"CC": ["copy"]}))
    reject_one(channel, source)
    assert "CC" not in get_one(channel, target).properties.headers


def test_trap_20_a_cycle_without_a_reject_drops_the_message(connection, channel, names):
    queue, witness, exchange = names.queue(), names.queue(), names.exchange()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": exchange, "x-message-ttl": 1})
    channel.queue_declare(witness)
    for bound in (queue, witness):
        channel.queue_bind(bound, exchange)
    confirming(connection).basic_publish("", queue, b"round")
    assert get_one(channel, witness).body == b"round"
    assert depth(channel, queue) == 0
    assert is_empty(channel, witness)


def test_trap_20_a_cycle_with_a_reject_goes_on(channel, names):
    queue = names.queue()
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    fill(channel, queue, b"round")
    for _ in range(3):
        reject_one(channel, queue)
    (death,) = get_one(channel, queue).properties.headers["x-death"]
    assert death["count"] == 3


def test_trap_20_a_missing_dlx_drops_silently(channel, names):
    queue = with_dlx(channel, names, exchange=names("missing"))
    fill(channel, queue, b"m")
    reject_one(channel, queue)
    assert is_empty(channel, queue)


def test_trap_20_purge_and_deletion_of_the_queue_dead_letter_nothing(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    source = with_dlx(channel, names, key=target)
    fill(channel, source, b"1", b"2")
    channel.queue_purge(source)
    fill(channel, source, b"3")
    channel.queue_delete(source)
    confirming(connection).basic_publish("", target, b"marker")
    assert get_one(channel, target).body == b"marker"


def test_trap_20_expiry_of_the_queue_dead_letters_nothing(connection, channel, names):
    target = names.queue()
    channel.queue_declare(target)
    source = with_dlx(channel, names, key=target, **{"x-expires": 50})
    confirming(connection).basic_publish("", source, b"m")

    def gone():
        try:
            connection.channel().queue_declare(source, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            return closed.reply_code == 404
        return False

    # A passive declare counts as use: look less often than the queue expires.
    until(gone, "expiry of the queue", pause=0.2)
    confirming(connection).basic_publish("", target, b"marker")
    assert get_one(channel, target).body == b"marker"


def test_trap_20_overflow_drop_head_dead_letters(channel, names):
    target = names.queue()
    channel.queue_declare(target)
    source = with_dlx(channel, names, key=target, **{"x-max-length": 2})
    for body in (b"1", b"2", b"3", b"4"):
        channel.basic_publish("", source, body)
    assert get_bodies(channel, target, 2) == [b"1", b"2"]
    assert get_bodies(channel, source, 2) == [b"3", b"4"]


@pytest.mark.fairlead_only("RabbitMQ ignores a client's x-death from 4.0 on")
def test_trap_20_x_death_of_a_client_is_ignored(channel, names):
    target = names.queue()
    channel.queue_declare(target)
    source = with_dlx(channel, names, key=target, **{"x-message-ttl": 1})
    forged = [{"queue": source, "reason": "expired", "count": 5, "exchange": "", "routing-keys": [source]}]
    channel.basic_publish("", source, b"m", pika.BasicProperties(headers={"x-death": forged}))
    assert get_one(channel, target).properties.headers["x-death"][0]["count"] == 1


def test_trap_21_requeue_goes_back_to_its_place(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    taken = [get_one(channel, queue, auto_ack=False) for _ in range(2)]
    channel.basic_nack(taken[1].method.delivery_tag, requeue=True)
    channel.basic_nack(taken[0].method.delivery_tag, requeue=True)
    wait_depth(channel, queue, 3)
    again = [get_one(channel, queue) for _ in range(3)]
    assert [message.body for message in again] == [b"1", b"2", b"3"]
    assert [message.method.redelivered for message in again] == [True, True, False]


def test_trap_21_end_of_the_channel_requeues(connection, queue):
    owner, other = connection.channel(), connection.channel()
    fill(owner, queue, b"1", b"2", b"3")
    for _ in range(2):
        get_one(owner, queue, auto_ack=False)
    owner.close()
    again = [get_one(other, queue) for _ in range(3)]
    assert [(m.body, m.method.redelivered) for m in again] == [(b"1", True), (b"2", True), (b"3", False)]


def test_trap_21_end_of_the_connection_requeues(connect, channel, queue):
    fill(channel, queue, b"1", b"2")
    owner = connect()
    Inbox(owner.channel(), queue).wait(2)
    owner.close()
    again = [get_one(channel, queue) for _ in range(2)]
    assert [(m.body, m.method.redelivered) for m in again] == [(b"1", True), (b"2", True)]


def test_trap_21_a_lost_connection_requeues(raw, channel, queue):
    fill(channel, queue, b"1")
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Get(queue=queue))
    assert one.expect_content(1, spec.Basic.GetOk).body == b"1"
    one.close()
    assert get_one(channel, queue).method.redelivered is True


def test_trap_21_delivery_limit_on_a_classic_queue(channel, names):
    queue = names.queue()
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue '{queue}' in vhost '/' "
        "of queue type rabbit_classic_queue",
    ):
        channel.queue_declare(queue, arguments={"x-delivery-limit": 3})


@pytest.mark.rabbitmq_only("Fairlead refuses quorum queues by name until replication exists")
def test_trap_21_quorum_counts_deliveries_from_the_second_on(connection, channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    inbox = Inbox(channel, queue)
    confirming(connection).basic_publish("", queue, b"m")
    inbox.wait(1)
    channel.basic_nack(inbox.messages[0].method.delivery_tag, requeue=True)
    inbox.wait(2)
    first, again = (message.properties.headers or {} for message in inbox.messages)
    assert "x-delivery-count" not in first
    assert again["x-delivery-count"] == 1


@pytest.mark.rabbitmq_only("Fairlead refuses quorum queues by name until replication exists")
def test_trap_21_quorum_dead_letters_when_the_limit_is_exceeded(channel, names):
    queue, target = names.queue(), names.queue()
    channel.queue_declare(target)
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target}
    channel.queue_declare(
        queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 2, **dead}
    )
    fill(channel, queue, b"m")
    for _ in range(3):
        channel.basic_nack(get_one(channel, queue, auto_ack=False).method.delivery_tag, requeue=True)
    (death,) = get_one(channel, target).properties.headers["x-death"]
    assert death["reason"] == "delivery_limit"


@pytest.mark.fairlead_only("quorum queues are refused by name until replication exists")
@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_trap_21_queue_types_to_come_are_refused_by_name(channel, names, kind):
    with pytest.raises(pika.exceptions.AMQPError) as caught:
        channel.queue_declare(names.queue(), durable=True, arguments={"x-queue-type": kind})
    assert kind in caught.value.reply_text


def test_trap_22_request_and_reply(connection, channel, names):
    requests, client = names.queue(), connection.channel()
    channel.queue_declare(requests)
    replies = Inbox(client, REPLY_TO, auto_ack=True)
    client.basic_publish("", requests, b"question", pika.BasicProperties(reply_to=REPLY_TO))
    request = get_one(channel, requests)
    assert re.fullmatch(re.escape(REPLY_TO) + r"\..+", request.properties.reply_to)
    channel.basic_publish("", request.properties.reply_to, b"answer")
    assert replies.wait(1) == [b"answer"]


def test_trap_22_consuming_with_acks(channel):
    with channel_refused(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=False)


def test_trap_22_consuming_twice(channel):
    channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
    with channel_refused(406, "PRECONDITION_FAILED - reply consumer already set"):
        channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)


def test_trap_22_request_on_another_channel(connection, queue):
    connection.channel().basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
    other = connection.channel()
    other.basic_publish("", queue, b"q", pika.BasicProperties(reply_to=REPLY_TO))
    closed_later(other, 406, "PRECONDITION_FAILED - fast reply consumer does not exist")


def test_trap_22_passive_declare_tells_whether_the_client_is_there(connection, channel, queue):
    client = connection.channel()
    client.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
    client.basic_publish("", queue, b"q", pika.BasicProperties(reply_to=REPLY_TO))
    address = get_one(channel, queue).properties.reply_to
    found = channel.queue_declare(address, passive=True).method
    assert (found.message_count, found.consumer_count) == (0, 1)
    client.close()
    with channel_refused(404):
        channel.queue_declare(address, passive=True)


def test_trap_22_a_reply_to_nobody_is_returned_if_mandatory(connection, channel, queue):
    client = connection.channel()
    client.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
    client.basic_publish("", queue, b"q", pika.BasicProperties(reply_to=REPLY_TO))
    address = get_one(channel, queue).properties.reply_to
    client.close()
    with pytest.raises(pika.exceptions.UnroutableError):
        confirming(connection).basic_publish("", address, b"late", mandatory=True)


def test_trap_23_user_id_must_be_ours(channel, queue, address):
    channel.basic_publish("", queue, b"m", pika.BasicProperties(user_id=address.user))
    assert get_one(channel, queue).properties.user_id == address.user
    channel.basic_publish("", queue, b"m", pika.BasicProperties(user_id="bob"))
    closed_later(
        channel,
        406,
        f"PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was '{address.user}'",
    )


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_trap_23_cc_and_bcc_must_be_arrays(channel, queue, header):
    channel.basic_publish("", queue, b"m", pika.BasicProperties(headers={header: "not an array"}))
    closed_later(
        channel,
        406,
        f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{header}",longstr}}',
    )


def test_trap_23_unknown_x_match(channel, queue):
    with channel_refused(
        406,
        'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; '
        "expected all, any, all-with-x, or any-with-x",
    ):
        channel.queue_bind(queue, "amq.headers", arguments={"x-match": "foo", "a": 1})


def test_trap_23_alternate_exchange_has_no_x(channel, names):
    main, other, queue = names.exchange(), names.exchange(), names.queue()
    channel.exchange_declare(other, "fanout")
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": other})
    channel.queue_declare(queue)
    channel.queue_bind(queue, other)
    channel.basic_publish(main, "nobody", b"m")
    assert get_one(channel, queue).body == b"m"


def test_trap_24_max_length_counts_ready_messages(connection, names):
    channel, queue = connection.channel(), names.queue()
    channel.queue_declare(queue, arguments={"x-max-length": 2})
    fill(channel, queue, b"1", b"2")
    held = get_one(channel, queue, auto_ack=False)
    fill(channel, queue, b"3")
    assert held.body == b"1"
    assert depth(channel, queue) == 2
    assert get_bodies(channel, queue, 2) == [b"2", b"3"]


def test_trap_24_max_length_bytes_counts_bodies_only(connection, names):
    channel, queue = confirming(connection), names.queue()
    channel.queue_declare(queue, arguments={"x-max-length-bytes": 10})
    bulky = pika.BasicProperties(headers={"filler": "x" * 1000})
    for body in (b"12345", b"67890"):
        channel.basic_publish("", queue, body, bulky)
    assert depth(channel, queue) == 2
    channel.basic_publish("", queue, b"!", bulky)
    assert get_bodies(channel, queue, 2) == [b"67890", b"!"]


def test_trap_24_max_priority_n_gives_levels_0_to_n(connection, names):
    channel, queue = confirming(connection), names.queue()
    channel.queue_declare(queue, arguments={"x-max-priority": 3})
    for body, priority in ((b"none", None), (b"1", 1), (b"3", 3), (b"200", 200), (b"2", 2), (b"0", 0)):
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
    assert get_bodies(channel, queue, 6) == [b"3", b"200", b"2", b"1", b"none", b"0"]


def test_trap_24_body_over_the_limit(raw, queue, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Publish(exchange="", routing_key=queue))
    one.header(1, 134217729)
    part = bytes(131064)
    for _ in range(1024):
        one.frame(BODY, 1, part)
    one.frame(BODY, 1, bytes(134217729 - 1024 * len(part)))
    one.channel_closed_with(
        1, 406, "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 134217728"
    )


def test_trap_24_access_request_is_answered(raw):
    one = raw()
    one.open_channel()
    assert one.call(1, spec.Access.Request(), spec.Access.RequestOk).ticket == 1


def test_trap_25_update_secret(raw, address):
    one = raw()
    one.call(0, spec.Connection.UpdateSecret(address.password, "rotation"), spec.Connection.UpdateSecretOk)
    one.open_channel()
