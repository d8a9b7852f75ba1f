"""Class basic, consumers: consume, cancel, prefetch, round robin, priority, exclusive, single active."""

from pika import spec
from raw import decode_method
from steps import Inbox, channel_refused, confirming, consumers, depth, fill, get_bodies
from waiting import pump_until, until

SINGLE_ACTIVE = {"x-single-active-consumer": True}


def send(connection, queue, *bodies):
    """Publishes with confirms, one after the other."""
    publisher = confirming(connection)
    for body in bodies:
        publisher.basic_publish("", queue, body)


def test_consume_from_a_missing_queue(channel, names):
    missing = names("missing")
    with channel_refused(404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"):
        channel.basic_consume(missing, lambda *_: None)


def test_consumer_gets_what_was_there_and_what_comes(connection, queue):
    fill(connection.channel(), queue, b"1", b"2")
    inbox = Inbox(connection.channel(), queue)
    inbox.wait(2)
    send(connection, queue, b"3")
    assert inbox.wait(3) == [b"1", b"2", b"3"]


def test_consume_with_nowait_is_not_answered(raw, queue):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Consume(queue=queue, consumer_tag="mine", nowait=True, no_ack=True))
    one.publish(1, "", queue, b"m")
    delivered = one.expect_content(1, spec.Basic.Deliver)
    assert (delivered.method.consumer_tag, delivered.body) == ("mine", b"m")


def test_cancel_with_nowait_is_not_answered(raw, queue):
    one = raw()
    one.open_channel()
    one.call(1, spec.Basic.Consume(queue=queue, consumer_tag="mine"), spec.Basic.ConsumeOk)
    one.method(1, spec.Basic.Cancel("mine", nowait=True))
    declared = one.call(1, spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk)
    assert declared.consumer_count == 0


def test_cancelled_consumer_gets_nothing_more(connection, queue):
    channel = connection.channel()
    inbox = Inbox(channel, queue)
    channel.basic_cancel(inbox.tag)
    send(connection, queue, b"m")
    assert depth(channel, queue) == 1
    assert inbox.settled() == []


def test_after_cancel_held_messages_may_still_be_acked(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2")
    inbox = Inbox(channel, queue)
    inbox.wait(2)
    tags = [message.method.delivery_tag for message in inbox.messages]
    channel.basic_cancel(inbox.tag)
    until(lambda: consumers(connection.channel(), queue) == 0)
    channel.basic_ack(tags[0])
    channel.close()
    assert get_bodies(connection.channel(), queue, 1) == [b"2"]


def test_cancelled_tag_may_be_used_again(connection, queue):
    channel = connection.channel()
    for _ in range(2):
        inbox = Inbox(channel, queue, consumer_tag="again")
        channel.basic_cancel(inbox.tag)
    assert consumers(channel, queue) == 0


def test_prefetch_holds_back_until_an_ack(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2", b"3", b"4")
    channel.basic_qos(prefetch_count=2)
    inbox = Inbox(channel, queue)
    inbox.wait(2)
    assert inbox.settled() == [b"1", b"2"]
    channel.basic_ack(inbox.messages[0].method.delivery_tag)
    inbox.wait(3)
    assert inbox.settled() == [b"1", b"2", b"3"]


def test_prefetch_0_is_no_limit(connection, queue):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_qos(prefetch_count=0)
    inbox = Inbox(channel, queue)
    send(connection, queue, *[b"m"] * 50)
    inbox.wait(50)


def test_prefetch_does_not_limit_no_ack(connection, queue):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    inbox = Inbox(channel, queue, auto_ack=True)
    send(connection, queue, *[b"m"] * 20)
    inbox.wait(20)


def test_lowering_the_global_window_stops_delivery(connection, queue):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=3, global_qos=True)
    fill(channel, queue, *[b"%d" % number for number in range(6)])
    inbox = Inbox(channel, queue)
    inbox.wait(3)
    channel.basic_qos(prefetch_count=1, global_qos=True)
    channel.basic_ack(inbox.messages[0].method.delivery_tag)
    channel.basic_ack(inbox.messages[1].method.delivery_tag)
    assert len(inbox.settled()) == 3
    channel.basic_ack(inbox.messages[2].method.delivery_tag)
    inbox.wait(4)
    assert len(inbox.settled()) == 4


def test_no_ack_consumer_leaves_nothing_behind(connection, queue):
    channel = connection.channel()
    inbox = Inbox(channel, queue, auto_ack=True)
    send(connection, queue, b"1", b"2")
    inbox.wait(2)
    channel.close()
    assert depth(connection.channel(), queue) == 0


def test_equal_consumers_share(connection, queue):
    inboxes = [Inbox(connection.channel(), queue) for _ in range(4)]
    send(connection, queue, *[b"%d" % number for number in range(40)])
    pump_until(connection, lambda: sum(len(inbox.bodies) for inbox in inboxes) == 40)
    assert min(len(inbox.bodies) for inbox in inboxes) >= 5


def test_prefetch_1_skips_the_busy_consumer(connection, queue):
    channels = [connection.channel() for _ in range(2)]
    for channel in channels:
        channel.basic_qos(prefetch_count=1)
    busy, free = (Inbox(channel, queue) for channel in channels)
    send(connection, queue, b"0", b"1")
    pump_until(connection, lambda: busy.bodies and free.bodies)
    for number in range(2, 6):
        send(connection, queue, b"%d" % number)
        channels[1].basic_ack(free.messages[-1].method.delivery_tag)
        free.wait(number)
    assert len(busy.bodies) == 1


def test_priority_falls_back_when_the_favourite_is_full(connection, queue):
    favoured = connection.channel()
    favoured.basic_qos(prefetch_count=1)
    high = Inbox(favoured, queue, arguments={"x-priority": 5})
    low = Inbox(connection.channel(), queue, arguments={"x-priority": -5})
    send(connection, queue, b"1", b"2")
    assert (high.wait(1), low.wait(1)) == ([b"1"], [b"2"])
    favoured.basic_ack(high.messages[0].method.delivery_tag)
    send(connection, queue, b"3")
    assert high.wait(2) == [b"1", b"3"]


def test_priority_of_a_wrong_type(channel, queue):
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
        '"expected integer, got longstr"',
    ):
        channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": "high"})


def test_exclusive_consumer_ends_with_its_cancel(connection, queue):
    channel = connection.channel()
    inbox = Inbox(channel, queue, exclusive=True)
    channel.basic_cancel(inbox.tag)
    assert Inbox(connection.channel(), queue, exclusive=True).settled() == []


def test_single_active_consumer_is_the_only_one_served(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments=SINGLE_ACTIVE)
    active, waiting = (Inbox(connection.channel(), queue, auto_ack=True) for _ in range(2))
    send(connection, queue, b"1", b"2", b"3")
    assert active.wait(3) == [b"1", b"2", b"3"]
    assert waiting.settled() == []


def test_single_active_consumer_is_followed_by_the_next(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments=SINGLE_ACTIVE)
    first, second, third = (Inbox(connection.channel(), queue) for _ in range(3))
    send(connection, queue, b"1")
    first.wait(1)
    first.channel.close()
    assert second.wait(1) == [b"1"]
    assert second.messages[0].method.redelivered is True
    second.channel.basic_ack(second.messages[0].method.delivery_tag)
    second.channel.basic_cancel(second.tag)
    send(connection, queue, b"2")
    assert third.wait(1) == [b"2"]


def test_single_active_consumer_refuses_an_exclusive_one(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments=SINGLE_ACTIVE)
    with channel_refused(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
        connection.channel().basic_consume(queue, lambda *_: None, exclusive=True)


def test_single_active_consumer_full_does_not_pass_on(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments=SINGLE_ACTIVE)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    active, waiting = Inbox(channel, queue), Inbox(connection.channel(), queue)
    send(connection, queue, b"1", b"2")
    active.wait(1)
    assert (active.settled(), waiting.settled()) == ([b"1"], [])


def test_consumer_of_an_expiring_queue_is_told_of_its_deletion(connect, connection, names):
    queue, owner = names("exclusive"), connection
    channel = owner.channel()
    channel.queue_declare(queue, exclusive=True)
    inbox = Inbox(owner.channel(), queue)
    channel.queue_delete(queue)
    pump_until(owner, lambda: inbox.cancelled, "basic.cancel")


def test_cancel_that_crosses_the_end_of_its_queue_is_answered(raw, names):
    one, other = raw(), raw()
    one.open_channel()
    other.open_channel()
    for _ in range(200):
        queue = names("short-lived")
        one.call(1, spec.Queue.Declare(queue=queue), spec.Queue.DeclareOk)
        one.call(1, spec.Basic.Consume(queue=queue, consumer_tag="mine"), spec.Basic.ConsumeOk)
        other.method(1, spec.Queue.Delete(queue=queue))
        one.method(1, spec.Basic.Cancel("mine"))
        answer = decode_method(one.read_frame().payload)
        if isinstance(answer, spec.Basic.Cancel):
            answer = one.expect(1, spec.Basic.CancelOk)
        assert isinstance(answer, spec.Basic.CancelOk)
        other.expect(1, spec.Queue.DeleteOk)


def test_messages_of_a_lost_consumer_go_to_the_other(raw, connection, queue):
    one = raw()
    one.open_channel()
    one.call(1, spec.Basic.Consume(queue=queue), spec.Basic.ConsumeOk)
    send(connection, queue, b"m")
    assert one.expect_content(1, spec.Basic.Deliver).body == b"m"
    other = Inbox(connection.channel(), queue)
    one.close()
    assert other.wait(1) == [b"m"]
    assert other.messages[0].method.redelivered is True


def test_many_consumers_on_one_channel(connection, queue):
    channel = connection.channel()
    inboxes = [Inbox(channel, queue, auto_ack=True) for _ in range(50)]
    send(connection, queue, *[b"m"] * 100)
    pump_until(connection, lambda: sum(len(inbox.bodies) for inbox in inboxes) == 100)
    assert consumers(channel, queue) == 50


def test_consuming_generator_of_pika(connection, queue):
    channel = connection.channel()
    fill(channel, queue, b"1", b"2")
    taken = []
    for method, _properties, body in channel.consume(queue, inactivity_timeout=10):
        taken.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(taken) == 2:
            break
    channel.cancel()
    assert taken == [b"1", b"2"]
