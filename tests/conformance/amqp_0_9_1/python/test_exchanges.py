"""Class exchange: declare, delete, bind, unbind, their flags, alternate exchanges."""

import pika
import pytest
from pika import spec
from steps import channel_refused, confirming, depth, fill, get_bodies, get_one, is_empty


@pytest.mark.parametrize(
    "name",
    ["amq.direct", "amq.topic", "amq.fanout", "amq.match", "amq.headers"],
)
def test_predeclared_exchanges(channel, name):
    channel.exchange_declare(name, passive=True)


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout", "headers"])
def test_declare_use_and_delete(connection, channel, names, kind):
    exchange, queue = names.exchange(), names.queue()
    channel.exchange_declare(exchange, kind)
    channel.exchange_declare(exchange, kind)
    channel.exchange_declare(exchange, passive=True)
    channel.queue_declare(queue)
    channel.queue_bind(queue, exchange, routing_key="k")
    channel.basic_publish(exchange, "k", b"m")
    assert get_one(channel, queue).body == b"m"
    channel.exchange_delete(exchange)
    with channel_refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        connection.channel().exchange_declare(exchange, passive=True)


def test_declare_with_every_flag(channel, names):
    exchange = names.exchange()
    flags = dict(
        durable=True, auto_delete=True, internal=True, arguments={"alternate-exchange": "amq.fanout"}
    )
    channel.exchange_declare(exchange, "topic", **flags)
    channel.exchange_declare(exchange, "topic", **flags)


def test_passive_declare_ignores_the_other_flags(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.exchange_declare(exchange, "fanout", passive=True)


def test_methods_with_nowait(raw, names, queue):
    one, exchange, source = raw(), names.exchange(), names.exchange()
    one.open_channel()
    one.method(1, spec.Exchange.Declare(exchange=exchange, type="direct", nowait=True))
    one.method(1, spec.Exchange.Declare(exchange=source, type="direct", nowait=True))
    one.method(1, spec.Exchange.Bind(destination=exchange, source=source, routing_key="k", nowait=True))
    one.method(1, spec.Queue.Bind(queue=queue, exchange=exchange, routing_key="k", nowait=True))
    one.publish(1, source, "k", b"through")
    one.call(1, spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk)
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    assert one.expect_content(1, spec.Basic.GetOk).body == b"through"
    one.method(1, spec.Exchange.Unbind(destination=exchange, source=source, routing_key="k", nowait=True))
    one.method(1, spec.Exchange.Delete(exchange=exchange, nowait=True))
    one.method(1, spec.Exchange.Declare(exchange=exchange, passive=True, nowait=False))
    one.channel_closed_with(1, 404)


def test_delete_if_unused(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    channel.queue_bind(queue, exchange, "k")
    with channel_refused(406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"):
        connection.channel().exchange_delete(exchange, if_unused=True)
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)
    with channel_refused(404):
        connection.channel().exchange_declare(exchange, passive=True)


def test_auto_delete_goes_with_the_last_binding(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_bind(queue, exchange, "a")
    channel.queue_bind(queue, exchange, "b")
    channel.queue_unbind(queue, exchange, "a")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(queue, exchange, "b")
    with channel_refused(404):
        connection.channel().exchange_declare(exchange, passive=True)


def test_auto_delete_goes_with_the_last_bound_queue(connection, channel, names):
    exchange, queue = names.exchange(), names.queue()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_declare(queue)
    channel.queue_bind(queue, exchange, "a")
    channel.queue_delete(queue)
    with channel_refused(404):
        connection.channel().exchange_declare(exchange, passive=True)


def test_exchange_to_exchange(channel, names, queue):
    source, target = names.exchange(), names.exchange()
    channel.exchange_declare(source, "topic")
    channel.exchange_declare(target, "fanout")
    channel.exchange_bind(target, source, "stock.#")
    channel.queue_bind(queue, target)
    channel.basic_publish(source, "stock.goog", b"1")
    channel.basic_publish(source, "weather", b"2")
    channel.basic_publish(source, "stock.rht.nyse", b"3")
    assert get_bodies(channel, queue, 2) == [b"1", b"3"]
    channel.exchange_unbind(target, source, "stock.#")
    channel.basic_publish(source, "stock.goog", b"4")
    channel.basic_publish(target, "", b"5")
    assert get_one(channel, queue).body == b"5"


def test_exchange_to_exchange_cycle_delivers_once(connection, channel, names, queue):
    first, second = names.exchange(), names.exchange()
    for exchange in (first, second):
        channel.exchange_declare(exchange, "fanout")
        channel.queue_bind(queue, exchange)
    channel.exchange_bind(first, second)
    channel.exchange_bind(second, first)
    confirming(connection).basic_publish(first, "", b"m")
    assert depth(channel, queue) == 1


def test_internal_exchange_receives_by_binding(channel, names, queue):
    front, back = names.exchange(), names.exchange()
    channel.exchange_declare(front, "fanout")
    channel.exchange_declare(back, "fanout", internal=True)
    channel.exchange_bind(back, front)
    channel.queue_bind(queue, back)
    channel.basic_publish(front, "", b"m")
    assert get_one(channel, queue).body == b"m"


def test_deleting_the_source_of_a_binding_ends_it(connection, channel, names, queue):
    source, target = names.exchange(), names.exchange()
    channel.exchange_declare(source, "fanout")
    channel.exchange_declare(target, "fanout")
    channel.exchange_bind(target, source)
    channel.queue_bind(queue, target)
    channel.exchange_delete(source)
    channel.exchange_declare(source, "fanout")
    publisher = confirming(connection)
    publisher.basic_publish(source, "", b"lost")
    publisher.basic_publish(target, "", b"kept")
    assert get_bodies(channel, queue, 1) == [b"kept"]


def test_bind_exchange_that_is_missing(connection, channel, names):
    missing, there = names("missing"), names.exchange()
    channel.exchange_declare(there, "fanout")
    for destination, source in ((missing, there), (there, missing)):
        with channel_refused(404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'"):
            connection.channel().exchange_bind(destination, source, "k")


def test_alternate_exchange_takes_what_is_unroutable(connection, channel, names):
    main, other = names.exchange(), names.exchange()
    routed, unrouted = names.queue(), names.queue()
    channel.exchange_declare(other, "fanout")
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": other})
    for queue, exchange in ((routed, main), (unrouted, other)):
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, "known")
    publisher = confirming(connection)
    publisher.basic_publish(main, "known", b"1", mandatory=True)
    publisher.basic_publish(main, "unknown", b"2", mandatory=True)
    assert get_bodies(channel, routed, 1) == [b"1"]
    message = get_one(channel, unrouted)
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"2", main, "unknown")
    assert is_empty(channel, routed) and is_empty(channel, unrouted)


def test_alternate_exchanges_chain(channel, names, queue):
    exchanges = [names.exchange() for _ in range(3)]
    channel.exchange_declare(exchanges[2], "fanout")
    channel.exchange_declare(exchanges[1], "direct", arguments={"alternate-exchange": exchanges[2]})
    channel.exchange_declare(exchanges[0], "direct", arguments={"alternate-exchange": exchanges[1]})
    channel.queue_bind(queue, exchanges[2])
    channel.basic_publish(exchanges[0], "nobody", b"m")
    assert get_one(channel, queue).body == b"m"


def test_alternate_exchange_cycle_ends(connection, channel, names):
    first, second = names.exchange(), names.exchange()
    channel.exchange_declare(first, "direct", arguments={"alternate-exchange": second})
    channel.exchange_declare(second, "direct", arguments={"alternate-exchange": first})
    with pytest.raises(pika.exceptions.UnroutableError):
        confirming(connection).basic_publish(first, "nobody", b"m", mandatory=True)


def test_missing_alternate_exchange_is_unroutable(connection, channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": names("missing")})
    with pytest.raises(pika.exceptions.UnroutableError):
        confirming(connection).basic_publish(exchange, "nobody", b"m", mandatory=True)


@pytest.mark.parametrize(
    "first, second, difference",
    [
        ("a", None, "received none but current is the value 'a' of type 'longstr'"),
        (None, "b", "received the value 'b' of type 'longstr' but current is none"),
        ("a", "b", "received 'b' but current is 'a'"),
    ],
)
def test_redeclared_with_another_alternate(channel, names, first, second, difference):
    exchange = names.exchange()
    arguments = [{"alternate-exchange": name} if name else {} for name in (first, second)]
    channel.exchange_declare(exchange, "direct", arguments=arguments[0])
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{exchange}' "
        f"in vhost '/': {difference}",
    ):
        channel.exchange_declare(exchange, "direct", arguments=arguments[1])


def test_alternate_exchange_of_a_wrong_type(channel, names):
    exchange = names.exchange()
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' "
        f"in exchange '{exchange}' in vhost '/'",
    ):
        channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": 1})


def test_unknown_arguments_of_an_exchange_may_differ(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", arguments={"x-note": 1})
    channel.exchange_declare(exchange, "direct")


def test_deleting_a_queue_removes_its_bindings(connection, channel, names):
    exchange, queue = names.exchange(), names.queue()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(queue)
    channel.queue_bind(queue, exchange)
    channel.queue_delete(queue)
    channel.queue_declare(queue)
    confirming(connection).basic_publish(exchange, "", b"m")
    assert depth(channel, queue) == 0
    fill(channel, queue, b"direct")
