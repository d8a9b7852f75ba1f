"""Classes tx and confirm: what waits for the commit, what the broker owes for each publish."""

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
)
from waiting import pump_until


@pytest.fixture
def tx(connection):
    """A channel in transaction mode."""
    channel = connection.channel()
    channel.tx_select()
    return channel


def test_publish_is_seen_after_commit_only(connection, tx, queue):
    other = connection.channel()
    tx.basic_publish("", queue, b"1")
    tx.basic_publish("", queue, b"2")
    tx.queue_declare("", exclusive=True)
    assert depth(other, queue) == 0
    tx.tx_commit()
    assert get_bodies(other, queue, 2) == [b"1", b"2"]


def test_rollback_drops_the_publishes(connection, tx, queue):
    tx.basic_publish("", queue, b"lost")
    tx.tx_rollback()
    tx.basic_publish("", queue, b"kept")
    tx.tx_commit()
    assert get_bodies(connection.channel(), queue, 1) == [b"kept"]


def test_next_transaction_begins_at_once(connection, tx, queue):
    for body in (b"1", b"2", b"3"):
        tx.basic_publish("", queue, body)
        tx.tx_commit()
    assert get_bodies(connection.channel(), queue, 3) == [b"1", b"2", b"3"]


def test_empty_commit_and_rollback(tx):
    tx.tx_commit()
    tx.tx_rollback()
    tx.tx_select()


def test_ack_counts_after_commit_only(connection, tx, queue):
    fill(connection.channel(), queue, b"1", b"2")
    tags = [get_one(tx, queue, auto_ack=False).method.delivery_tag for _ in range(2)]
    tx.basic_ack(tags[0])
    tx.tx_commit()
    tx.basic_ack(tags[1])
    tx.close()
    assert get_bodies(connection.channel(), queue, 1) == [b"2"]


def test_after_rollback_the_message_may_be_acked_again(connection, tx, queue):
    fill(connection.channel(), queue, b"m")
    tag = get_one(tx, queue, auto_ack=False).method.delivery_tag
    tx.basic_ack(tag)
    tx.tx_rollback()
    tx.basic_ack(tag)
    tx.tx_commit()
    tx.close()
    assert depth(connection.channel(), queue) == 0


def test_acked_in_an_open_transaction_and_the_connection_lost(connect, connection, queue):
    fill(connection.channel(), queue, b"m")
    lost = connect()
    channel = lost.channel()
    channel.tx_select()
    channel.basic_ack(get_one(channel, queue, auto_ack=False).method.delivery_tag)
    channel.basic_publish("", queue, b"never committed")
    lost.close()
    other = connection.channel()
    assert get_bodies(other, queue, 1) == [b"m"]
    assert is_empty(other, queue)


def test_reject_counts_after_commit(connection, tx, queue):
    fill(connection.channel(), queue, b"m")
    tx.basic_reject(get_one(tx, queue, auto_ack=False).method.delivery_tag, requeue=True)
    other = connection.channel()
    assert is_empty(other, queue)
    tx.tx_commit()
    assert get_one(other, queue).method.redelivered is True


def test_publish_and_ack_together(connection, tx, names, queue):
    target = names.queue()
    tx.queue_declare(target)
    fill(connection.channel(), queue, b"in")
    message = get_one(tx, queue, auto_ack=False)
    tx.basic_publish("", target, message.body + b" and out")
    tx.basic_ack(message.method.delivery_tag)
    tx.tx_commit()
    tx.close()
    other = connection.channel()
    assert get_bodies(other, target, 1) == [b"in and out"]
    assert depth(other, queue) == 0


def test_unroutable_mandatory_is_returned_at_commit(raw):
    one = raw()
    one.open_channel()
    one.call(1, spec.Tx.Select(), spec.Tx.SelectOk)
    one.publish(1, "amq.direct", "nobody listens", b"m", mandatory=True)
    one.call(1, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)
    one.method(1, spec.Tx.Commit())
    assert one.expect_content(1, spec.Basic.Return).method.reply_code == 312
    one.expect(1, spec.Tx.CommitOk)


def test_publish_to_a_missing_exchange_in_a_transaction(tx, names):
    missing = names("missing")
    tx.basic_publish(missing, "k", b"m")
    with channel_refused(404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'"):
        tx.tx_commit()


def test_unknown_tag_in_a_transaction(tx):
    tx.basic_ack(7)
    with channel_refused(406, "PRECONDITION_FAILED - unknown delivery tag 7"):
        tx.tx_commit()


def test_transaction_to_several_queues(connection, tx, names):
    exchange, queues = names.exchange(), [names.queue() for _ in range(3)]
    tx.exchange_declare(exchange, "fanout")
    for queue in queues:
        tx.queue_declare(queue)
        tx.queue_bind(queue, exchange)
    for body in (b"1", b"2"):
        tx.basic_publish(exchange, "", body)
    tx.tx_commit()
    other = connection.channel()
    for queue in queues:
        assert get_bodies(other, queue, 2) == [b"1", b"2"]


@pytest.mark.fairlead_only("RabbitMQ keeps what had room")
@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_a_commit_beyond_a_queues_limit_is_refused(connection, tx, names, overflow):
    limited = names.queue()
    other = connection.channel()
    other.queue_declare(limited, arguments={"x-max-length": 1, "x-overflow": overflow})
    for body in (b"1", b"2"):
        tx.basic_publish("", limited, body)
    expected = f"PRECONDITION_FAILED - queue '{limited}' in vhost '/' is full, the transaction was rolled back"
    with channel_refused(406, expected):
        tx.tx_commit()
    assert depth(other, limited) == 0


def test_confirm_select_twice_keeps_the_numbering(raw, queue):
    one = raw()
    one.open_channel()
    for tag in (1, 2):
        one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
        one.publish(1, "", queue, b"m")
        assert one.expect(1, spec.Basic.Ack).delivery_tag == tag


def test_confirm_select_with_nowait(raw, queue):
    one = raw()
    one.open_channel()
    one.method(1, spec.Confirm.Select(nowait=True))
    one.publish(1, "", queue, b"m")
    assert one.expect(1, spec.Basic.Ack).delivery_tag == 1


@pytest.mark.parametrize("delivery_mode", [1, 2])
@pytest.mark.parametrize("durable", [False, True])
def test_confirmed_on_any_queue(connection, names, durable, delivery_mode):
    queue, channel = names.queue(), confirming(connection)
    channel.queue_declare(queue, durable=durable)
    channel.basic_publish("", queue, b"m", pika.BasicProperties(delivery_mode=delivery_mode))
    message = get_one(channel, queue)
    assert (message.body, message.properties.delivery_mode) == (b"m", delivery_mode)


def test_confirmed_when_some_queues_of_a_fanout_reject(connection, names):
    channel, exchange = confirming(connection), names.exchange()
    full, roomy = names.queue(), names.queue()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.queue_declare(roomy)
    for queue in (full, roomy):
        channel.queue_bind(queue, exchange)
    channel.basic_publish(exchange, "", b"1")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish(exchange, "", b"2")
    assert get_bodies(channel, roomy, 2) == [b"1", b"2"]


def test_a_refused_publish_is_not_confirmed(raw, names):
    one, missing = raw(), names("missing")
    one.open_channel()
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    one.publish(1, missing, "k", b"m")
    one.channel_closed_with(1, 404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'")


def test_confirms_count_each_channel_by_itself(raw, queue):
    one = raw()
    for number in (1, 2):
        one.open_channel(number)
        one.call(number, spec.Confirm.Select(), spec.Confirm.SelectOk)
    for tag in (1, 2):
        for number in (1, 2):
            one.publish(number, "", queue, b"m")
            assert one.expect(number, spec.Basic.Ack).delivery_tag == tag


def test_confirms_do_not_wait_for_consumers(connection, queue):
    inbox = Inbox(connection.channel(), queue)
    channel = confirming(connection)
    for _ in range(10):
        channel.basic_publish("", queue, b"m")
    pump_until(connection, lambda: len(inbox.bodies) == 10)


def test_confirm_mode_and_unknown_tag(connection):
    channel = confirming(connection)
    channel.basic_ack(1)
    closed_later(channel, 406, "PRECONDITION_FAILED - unknown delivery tag 1")
