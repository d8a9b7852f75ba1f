"""Traps 14 to 19: consumers, qos, acknowledgements, what is not implemented, confirms, x-death."""

import pika
import pytest
from pika import spec
from steps import (
    Inbox,
    channel_refused,
    closed_later,
    confirming,
    consumers,
    depth,
    fill,
    get_one,
)
from waiting import pump_until


def test_trap_14_exclusive_consumer_clash(connection, queue):
    first = Inbox(connection.channel(), queue, exclusive=True)
    with channel_refused(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
        connection.channel().basic_consume(queue, lambda *_: None)
    assert first.settled() == []


def test_trap_14_exclusive_consumer_where_another_consumes(connection, queue):
    Inbox(connection.channel(), queue)
    with channel_refused(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
        connection.channel().basic_consume(queue, lambda *_: None, exclusive=True)


def test_trap_14_tag_reused_on_a_channel(raw, queue, bystander):
    one = raw()
    one.open_channel()
    one.call(1, spec.Basic.Consume(queue=queue, consumer_tag="mine"), spec.Basic.ConsumeOk)
    one.method(1, spec.Basic.Consume(queue=queue, consumer_tag="mine"))
    one.connection_closed_with(530, "NOT_ALLOWED - attempt to reuse consumer tag 'mine'")


def test_trap_14_same_tag_on_two_channels_is_fine(connection, queue):
    for channel in (connection.channel(), connection.channel()):
        channel.basic_consume(queue, lambda *_: None, consumer_tag="mine")
    assert consumers(connection.channel(), queue) == 2


def test_trap_14_no_local_is_ignored(raw, queue):
    one = raw()
    one.open_channel()
    one.call(1, spec.Basic.Consume(queue=queue, no_local=True, no_ack=True), spec.Basic.ConsumeOk)
    one.publish(1, "", queue, b"own")
    assert one.expect_content(1, spec.Basic.Deliver).body == b"own"


def test_trap_14_higher_priority_first_while_it_has_credit(connection, queue):
    low = Inbox(connection.channel(), queue)
    favoured = connection.channel()
    favoured.basic_qos(prefetch_count=2)
    high = Inbox(favoured, queue, arguments={"x-priority": 10})
    publisher = confirming(connection)
    for body in (b"1", b"2", b"3"):
        publisher.basic_publish("", queue, body)
    low.wait(1)
    assert (high.wait(2), low.bodies) == ([b"1", b"2"], [b"3"])


def test_trap_14_cancel_from_the_broker_when_the_queue_goes(connection, channel, queue):
    inbox = Inbox(connection.channel(), queue)
    channel.queue_delete(queue)
    pump_until(connection, lambda: inbox.cancelled, "basic.cancel")


def test_trap_14_cancel_from_the_broker_is_nowait(raw, channel, queue):
    one = raw()
    one.open_channel()
    one.call(1, spec.Basic.Consume(queue=queue, consumer_tag="tag"), spec.Basic.ConsumeOk)
    channel.queue_delete(queue)
    cancel = one.expect(1, spec.Basic.Cancel)
    assert (cancel.consumer_tag, cancel.nowait) == ("tag", True)


def test_trap_15_qos_without_global_is_for_each_new_consumer(connection, names):
    channel, first, second = connection.channel(), names.queue(), names.queue()
    for queue in (first, second):
        channel.queue_declare(queue)
        fill(channel, queue, b"1", b"2", b"3", b"4")
    channel.basic_qos(prefetch_count=1)
    one = Inbox(channel, first)
    channel.basic_qos(prefetch_count=3)
    three = Inbox(channel, second)
    three.wait(3)
    assert (len(one.settled()), len(three.settled())) == (1, 3)


def test_trap_15_existing_consumers_keep_their_prefetch(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    channel.basic_qos(prefetch_count=1)
    inbox = Inbox(channel, queue)
    inbox.wait(1)
    channel.basic_qos(prefetch_count=3)
    assert inbox.settled() == [b"1"]


def test_trap_15_qos_global_is_one_window_for_the_channel(connection, names):
    channel, first, second = connection.channel(), names.queue(), names.queue()
    for queue in (first, second):
        channel.queue_declare(queue)
        fill(channel, queue, b"1", b"2", b"3")
    channel.basic_qos(prefetch_count=4, global_qos=True)
    inboxes = [Inbox(channel, first), Inbox(channel, second)]
    pump_until(connection, lambda: sum(len(inbox.bodies) for inbox in inboxes) >= 4)
    assert sum(len(inbox.settled()) for inbox in inboxes) == 4
    channel.basic_ack(0, multiple=True)
    pump_until(connection, lambda: sum(len(inbox.bodies) for inbox in inboxes) == 6)


def test_trap_15_both_windows_hold_at_once(connection, queue):
    channel = connection.channel()
    fill(channel, queue, *[b"m"] * 6)
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    inboxes = [Inbox(channel, queue), Inbox(channel, queue)]
    pump_until(connection, lambda: sum(len(inbox.bodies) for inbox in inboxes) >= 3)
    counts = sorted(len(inbox.settled()) for inbox in inboxes)
    assert counts == [1, 2]


def test_trap_15_get_is_not_limited(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3")
    channel.basic_qos(prefetch_count=1, global_qos=True)
    assert [get_one(channel, queue, auto_ack=False).body for _ in range(3)] == [b"1", b"2", b"3"]


def test_trap_15_prefetch_size(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Qos(prefetch_size=1, prefetch_count=1))
    one.connection_closed_with(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)")


@pytest.mark.rabbitmq_only("Fairlead refuses quorum queues by name until replication exists")
def test_trap_15_quorum_queue_refuses_global_qos(raw, names):
    one, queue = raw(), names.queue()
    one.open_channel()
    one.call(
        1,
        spec.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": "quorum"}),
        spec.Queue.DeclareOk,
    )
    one.call(1, spec.Basic.Qos(prefetch_count=1, global_qos=True), spec.Basic.QosOk)
    one.method(1, spec.Basic.Consume(queue=queue))
    one.connection_closed_with(540)


@pytest.mark.parametrize(
    "name, settle", [("ack", "basic_ack"), ("nack", "basic_nack"), ("reject", "basic_reject")]
)
def test_trap_16_unknown_delivery_tag(channel, name, settle):
    getattr(channel, settle)(7)
    closed_later(channel, 406, "PRECONDITION_FAILED - unknown delivery tag 7")


def test_trap_16_second_ack_of_a_tag(channel, queue):
    fill(channel, queue, b"m")
    tag = get_one(channel, queue, auto_ack=False).method.delivery_tag
    channel.basic_ack(tag)
    channel.basic_ack(tag)
    closed_later(channel, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")


def test_trap_16_tag_0_with_multiple_is_all_even_none(connection, queue):
    channel = connection.channel()
    channel.basic_ack(0, multiple=True)
    fill(channel, queue, b"1", b"2")
    for _ in range(2):
        get_one(channel, queue, auto_ack=False)
    channel.basic_ack(0, multiple=True)
    channel.close()
    assert depth(connection.channel(), queue) == 0


def test_trap_16_tag_0_alone_is_unknown(channel):
    channel.basic_ack(0, multiple=False)
    closed_later(channel, 406, "PRECONDITION_FAILED - unknown delivery tag 0")


def test_trap_16_a_tag_is_valid_on_its_own_channel_only(connection, queue):
    owner, stranger = connection.channel(), connection.channel()
    fill(owner, queue, b"m")
    tag = get_one(owner, queue, auto_ack=False).method.delivery_tag
    stranger.basic_ack(tag)
    closed_later(stranger, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
    owner.basic_ack(tag)
    owner.close()
    assert depth(connection.channel(), queue) == 0


def test_trap_16_get_and_deliver_share_the_numbering(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2")
    assert get_one(channel, queue, auto_ack=False).method.delivery_tag == 1
    inbox = Inbox(channel, queue)
    inbox.wait(1)
    assert inbox.messages[0].method.delivery_tag == 2


def test_trap_17_publish_immediate(raw, queue, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Publish(exchange="", routing_key=queue, immediate=True))
    one.header(1, 0)
    one.connection_closed_with(540, "NOT_IMPLEMENTED - immediate=true")


def test_trap_17_recover_without_requeue(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Recover(requeue=False))
    one.connection_closed_with(540, "NOT_IMPLEMENTED - ...")


def test_trap_17_channel_flow_inactive(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Channel.Flow(active=False))
    one.connection_closed_with(540, "NOT_IMPLEMENTED - active=false")


def test_trap_17_channel_flow_active_is_answered(raw):
    one = raw()
    one.open_channel()
    assert one.call(1, spec.Channel.Flow(active=True), spec.Channel.FlowOk).active is True


def test_trap_18_confirms_number_from_the_select(raw, queue):
    one = raw()
    one.open_channel()
    one.publish(1, "", queue, b"before")
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    for tag in (1, 2, 3):
        one.publish(1, "", queue, b"after")
        assert one.expect(1, spec.Basic.Ack).delivery_tag == tag


def test_trap_18_returned_first_and_then_acked(raw):
    one = raw()
    one.open_channel()
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    one.publish(1, "amq.direct", "nobody listens", b"body", mandatory=True)
    returned = one.expect_content(1, spec.Basic.Return)
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("amq.direct", "nobody listens")
    assert returned.body == b"body"
    assert one.expect(1, spec.Basic.Ack).delivery_tag == 1


def test_trap_18_unroutable_without_mandatory_is_acked(raw):
    one = raw()
    one.open_channel()
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    one.publish(1, "amq.direct", "nobody listens", b"body")
    assert one.expect(1, spec.Basic.Ack).delivery_tag == 1


def test_trap_18_nack_from_reject_publish(raw, names):
    one, queue = raw(), names.queue()
    one.open_channel()
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    one.call(1, spec.Queue.Declare(queue=queue, arguments=arguments), spec.Queue.DeclareOk)
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    one.publish(1, "", queue, b"fits")
    assert one.expect(1, spec.Basic.Ack).delivery_tag == 1
    one.publish(1, "", queue, b"too many")
    assert one.expect(1, spec.Basic.Nack).delivery_tag == 2


def test_trap_18_every_publish_of_a_burst_is_confirmed(raw, queue):
    one = raw()
    one.open_channel()
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    for _ in range(1000):
        one.publish(1, "", queue, b"m")
    confirmed, highest = set(), 0
    while len(confirmed) < 1000:
        ack = one.expect(1, spec.Basic.Ack)
        if ack.multiple:
            confirmed.update(range(highest + 1, ack.delivery_tag + 1))
            highest = ack.delivery_tag
        confirmed.add(ack.delivery_tag)
    assert confirmed == set(range(1, 1001))


def test_trap_18_no_switch_between_tx_and_confirm(connection):
    channel = connection.channel()
    channel.tx_select()
    with channel_refused(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        channel.confirm_delivery()
    channel = connection.channel()
    channel.confirm_delivery()
    with channel_refused(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"):
        channel.tx_select()


@pytest.mark.parametrize("operation", ["tx_commit", "tx_rollback"])
def test_trap_18_channel_is_not_transactional(connection, operation):
    with channel_refused(406, "PRECONDITION_FAILED - channel is not transactional"):
        getattr(connection.channel(), operation)()


def dead_lettered(channel, names, **arguments):
    """A queue whose dead letters go to a second one: (source, target)."""
    source, target = names.queue(), names.queue()
    channel.queue_declare(target)
    channel.queue_declare(
        source,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target, **arguments},
    )
    return source, target


def test_trap_19_x_death_of_a_rejected_message(channel, names):
    source, target = dead_lettered(channel, names)
    fill(channel, source, b"m")
    channel.basic_reject(get_one(channel, source, auto_ack=False).method.delivery_tag, requeue=False)
    headers = get_one(channel, target).properties.headers
    (death,) = headers["x-death"]
    assert death["time"].year > 2000
    assert {name: death[name] for name in death if name != "time"} == {
        "count": 1,
        "reason": "rejected",
        "queue": source,
        "exchange": "",
        "routing-keys": [source],
    }
    assert headers["x-first-death-queue"] == source
    assert headers["x-first-death-reason"] == "rejected"
    assert headers["x-first-death-exchange"] == ""


def test_trap_19_x_death_of_an_expired_message_keeps_the_expiration(channel, names):
    source, target = dead_lettered(channel, names)
    channel.basic_publish("", source, b"m", pika.BasicProperties(expiration="1"))
    message = get_one(channel, target)
    (death,) = message.properties.headers["x-death"]
    assert (death["reason"], death["original-expiration"]) == ("expired", "1")
    assert message.properties.expiration is None


def test_trap_19_x_death_of_an_expired_queue_ttl_has_no_expiration(channel, names):
    source, target = dead_lettered(channel, names, **{"x-message-ttl": 1})
    channel.basic_publish("", source, b"m")
    (death,) = get_one(channel, target).properties.headers["x-death"]
    assert death["reason"] == "expired" and "original-expiration" not in death


def test_trap_19_x_death_of_a_displaced_message(channel, names):
    source, target = dead_lettered(channel, names, **{"x-max-length": 1})
    channel.basic_publish("", source, b"old")
    channel.basic_publish("", source, b"new")
    message = get_one(channel, target)
    assert (message.body, message.properties.headers["x-death"][0]["reason"]) == (b"old", "maxlen")


def test_trap_19_routing_keys_have_the_cc(channel, names):
    source, target = dead_lettered(channel, names)
    headers = {"CC": ["copy"]}
    channel.basic_publish("", source, b"m", pika.BasicProperties(headers=headers))
    channel.basic_reject(get_one(channel, source, auto_ack=False).method.delivery_tag, requeue=False)
    (death,) = get_one(channel, target).properties.headers["x-death"]
    assert death["routing-keys"] == [source, "copy"]


def test_trap_19_one_entry_a_queue_and_reason_latest_first(channel, names):
    first, second = names.queue(), names.queue()
    channel.queue_declare(
        first, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    )
    channel.queue_declare(
        second, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": first}
    )
    fill(channel, first, b"m")
    for queue in (first, second, first):
        channel.basic_reject(get_one(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)
    headers = get_one(channel, second).properties.headers
    deaths = [(death["queue"], death["reason"], death["count"]) for death in headers["x-death"]]
    assert deaths == [(first, "rejected", 2), (second, "rejected", 1)]
    assert headers["x-first-death-queue"] == first


@pytest.mark.fairlead_only("x-last-death-* came with RabbitMQ 3.13")
def test_trap_19_x_last_death(channel, names):
    source, target = dead_lettered(channel, names)
    fill(channel, source, b"m")
    channel.basic_reject(get_one(channel, source, auto_ack=False).method.delivery_tag, requeue=False)
    headers = get_one(channel, target).properties.headers
    assert headers["x-last-death-queue"] == source
    assert headers["x-last-death-reason"] == "rejected"
    assert headers["x-last-death-exchange"] == ""
