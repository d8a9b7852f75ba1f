"""Class queue: declare, bind, unbind, purge, delete, their flags, exclusive and auto-delete queues, expiry."""

import pytest
from pika import spec
from pika.exceptions import ChannelClosedByBroker, UnroutableError
from steps import (
    Inbox,
    channel_refused,
    confirming,
    consumers,
    depth,
    fill,
    get_bodies,
    get_one,
    is_empty,
)
from waiting import until


def exists(connection, queue):
    """True if a passive declare succeeds (on a channel of its own)."""
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker as refused:
        assert refused.reply_code == 404
        return False
    return True


def test_declare_ok_counts_messages_and_consumers(connection, queue):
    channel = connection.channel()
    declared = channel.queue_declare(queue).method
    assert (declared.queue, declared.message_count, declared.consumer_count) == (queue, 0, 0)
    fill(channel, queue, b"1", b"2")
    get_one(channel, queue, auto_ack=False)
    channel.basic_qos(prefetch_count=1)
    other = connection.channel()
    other.basic_qos(prefetch_count=1)
    Inbox(other, queue).wait(1)
    declared = channel.queue_declare(queue, passive=True).method
    assert (declared.message_count, declared.consumer_count) == (0, 1)


def test_passive_declare_of_a_missing_queue(channel, names):
    missing = names("missing")
    with channel_refused(404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"):
        channel.queue_declare(missing, passive=True)


def test_passive_declare_ignores_the_other_flags(channel, queue):
    assert channel.queue_declare(
        queue, passive=True, durable=True, arguments={"x-max-length": 1}
    ).method.queue


def test_server_named_queue_is_usable_by_its_name(channel):
    name = channel.queue_declare("", exclusive=True).method.queue
    fill(channel, name, b"m")
    assert get_one(channel, name).body == b"m"


def test_server_names_differ(channel):
    drawn = {channel.queue_declare("", exclusive=True).method.queue for _ in range(20)}
    assert len(drawn) == 20


def test_methods_with_nowait(raw, names):
    one, queue = raw(), names.queue()
    one.open_channel()
    one.method(1, spec.Queue.Declare(queue=queue, nowait=True))
    one.method(1, spec.Queue.Bind(queue=queue, exchange="amq.direct", routing_key=queue, nowait=True))
    one.publish(1, "amq.direct", queue, b"m")

    def count():
        return one.call(1, spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk).message_count

    until(lambda: count() == 1, "the message")
    one.method(1, spec.Queue.Purge(queue=queue, nowait=True))
    assert count() == 0
    one.method(1, spec.Queue.Delete(queue=queue, nowait=True))
    one.method(1, spec.Queue.Declare(queue=queue, passive=True))
    one.channel_closed_with(1, 404)


def test_declare_with_nowait_that_fails_closes_the_channel(raw, queue):
    one = raw()
    one.open_channel()
    one.method(1, spec.Queue.Declare(queue=queue, durable=True, nowait=True))
    one.channel_closed_with(1, 406)


def test_purge_counts_ready_messages_and_spares_held_ones(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    held = get_one(channel, queue, auto_ack=False)
    assert channel.queue_purge(queue).method.message_count == 2
    assert depth(channel, queue) == 0
    channel.basic_nack(held.method.delivery_tag, requeue=True)
    assert get_one(channel, queue).body == b"1"


def test_purge_of_a_missing_queue(channel, names):
    with channel_refused(404):
        channel.queue_purge(names("missing"))


def test_delete_counts_messages(channel, queue):
    fill(channel, queue, b"1", b"2")
    assert channel.queue_delete(queue).method.message_count == 2


def test_delete_with_conditions_that_hold(connection, channel, queue):
    channel.queue_delete(queue, if_unused=True, if_empty=True)
    assert not exists(connection, queue)


def test_bind_twice_delivers_once(connection, channel, queue):
    for _ in range(2):
        channel.queue_bind(queue, "amq.direct", queue)
    confirming(connection).basic_publish("amq.direct", queue, b"m")
    assert depth(channel, queue) == 1
    channel.queue_unbind(queue, "amq.direct", queue)
    confirming(connection).basic_publish("amq.direct", queue, b"m")
    assert depth(channel, queue) == 1


def test_two_keys_of_one_queue_deliver_once_each(connection, channel, queue):
    channel.queue_bind(queue, "amq.topic", f"{queue}.a.*")
    channel.queue_bind(queue, "amq.topic", f"{queue}.*.b")
    confirming(connection).basic_publish("amq.topic", f"{queue}.a.b", b"once")
    assert get_bodies(channel, queue, 1) == [b"once"]
    assert is_empty(channel, queue)


def test_arguments_are_part_of_a_binding(connection, channel, queue):
    publisher, key = confirming(connection), queue
    for number in (1, 2):
        channel.queue_bind(queue, "amq.direct", key, {"note": number})
    channel.queue_unbind(queue, "amq.direct", key, {"note": 1})
    publisher.basic_publish("amq.direct", key, b"still bound")
    assert get_one(channel, queue).body == b"still bound"
    channel.queue_unbind(queue, "amq.direct", key, {"note": 2})
    publisher.basic_publish("amq.direct", key, b"lost")
    assert depth(channel, queue) == 0


def test_every_queue_is_bound_to_the_default_exchange(channel, queue):
    channel.basic_publish("", queue, b"m")
    message = get_one(channel, queue)
    assert (message.method.exchange, message.method.routing_key) == ("", queue)


def test_exclusive_queue_serves_all_channels_of_its_connection(connection, names):
    queue = names("exclusive")
    connection.channel().queue_declare(queue, exclusive=True)
    other = connection.channel()
    fill(other, queue, b"m")
    assert get_one(other, queue).body == b"m"
    assert other.queue_delete(queue).method.message_count == 0


def test_auto_delete_goes_with_the_last_consumer(connection, names):
    queue, channel = names.queue(), connection.channel()
    channel.queue_declare(queue, auto_delete=True)
    inboxes = [Inbox(channel, queue) for _ in range(2)]
    channel.basic_cancel(inboxes[0].tag)
    assert exists(connection, queue)
    channel.basic_cancel(inboxes[1].tag)
    until(lambda: not exists(connection, queue), "deletion of the auto-delete queue")


def test_auto_delete_stays_while_it_never_had_a_consumer(connection, connect, names):
    queue = names.queue()
    declarer = connect()
    declarer.channel().queue_declare(queue, auto_delete=True)
    declarer.close()
    assert exists(connection, queue)


def test_auto_delete_goes_with_the_channel_of_its_consumer(connection, names):
    queue, channel = names.queue(), connection.channel()
    channel.queue_declare(queue, auto_delete=True)
    Inbox(channel, queue)
    channel.close()
    until(lambda: not exists(connection, queue), "deletion of the auto-delete queue")


def test_expires_when_unused(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments={"x-expires": 100})
    until(lambda: not exists(connection, queue), "expiry of the queue", pause=0.25)


def test_does_not_expire_while_consumed(connection, names):
    queue, channel = names.queue(), connection.channel()
    channel.queue_declare(queue, arguments={"x-expires": 150})
    control = names.queue()
    inbox = Inbox(channel, queue)
    channel.queue_declare(control, arguments={"x-expires": 400})
    until(lambda: not exists(connection, control), "expiry of the control queue", pause=0.6)
    confirming(connection).basic_publish("", queue, b"still here", mandatory=True)
    assert inbox.wait(1) == [b"still here"]


def test_redeclared_before_expiry_lives_on(connection, names):
    queue, control, channel = names.queue(), names.queue(), connection.channel()
    channel.queue_declare(control, arguments={"x-expires": 900})
    channel.queue_declare(queue, arguments={"x-expires": 600})
    inspector = connection.channel()

    def control_is_gone():
        inspector.queue_declare(queue, arguments={"x-expires": 600})
        return confirming_is_unroutable(connection, control)

    until(control_is_gone, "expiry of the control queue", pause=0.05)
    assert exists(connection, queue)


def confirming_is_unroutable(connection, queue):
    """True if a mandatory message to the queue comes back: asks without using the queue."""
    channel = confirming(connection)
    try:
        channel.basic_publish("", queue, b"probe", mandatory=True)
    except UnroutableError:
        return True
    finally:
        channel.close()
    return False


@pytest.mark.parametrize("flag", ["durable", "auto_delete"])
def test_declared_again_with_the_same_flags(channel, names, flag):
    queue = names.queue()
    for _ in range(2):
        assert channel.queue_declare(queue, **{flag: True}).method.queue == queue


def test_declared_again_by_another_connection(connect, channel, queue):
    assert connect().channel().queue_declare(queue).method.queue == queue


def test_consumers_of_a_closed_channel_are_gone(connection, queue):
    channel, other = connection.channel(), connection.channel()
    Inbox(channel, queue)
    assert consumers(other, queue) == 1
    channel.close()
    until(lambda: consumers(other, queue) == 0, "the consumer's end")


@pytest.mark.fairlead_only("RabbitMQ takes it, and no delivery can carry it")
@pytest.mark.parametrize("argument", ["x-dead-letter-exchange", "x-dead-letter-routing-key"])
def test_dead_letter_names_fit_into_a_delivery(connection, names, argument):
    queue = names.queue()
    arguments = {"x-dead-letter-exchange": "amq.fanout", argument: "k" * 256}
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/': \"longer than 255 octets\""
    with channel_refused(406, text):
        connection.channel().queue_declare(queue, arguments=arguments)
    arguments[argument] = "k" * 255
    connection.channel().queue_declare(queue, arguments=arguments)
