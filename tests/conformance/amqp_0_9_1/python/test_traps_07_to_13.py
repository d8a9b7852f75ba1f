"""Traps 7 to 13: field tables, redeclaration, bad arguments, exclusive queues, reserved names, idempotence, names."""

import re
import struct

import pika
import pytest
from fields import entry, read_table, shortstr, table, value
from pika import spec
from steps import (
    channel_refused,
    closed_later,
    confirming,
    connection_refused,
    fill,
    get_one,
    is_empty,
)
from waiting import pump_until

EVERY_TYPE = {
    "bool": ("t", True),
    "int8": ("b", -8),
    "uint8": ("B", 200),
    "int16": ("s", -1600),
    "uint16": ("u", 60000),
    "int32": ("I", -320000),
    "uint32": ("i", 4_000_000_000),
    "int64": ("l", -(2**60)),
    "float": ("f", 0.5),
    "double": ("d", 616.47),
    "decimal": ("D", (2, 61647)),
    "string": ("S", b"GOOG"),
    "bytes": ("x", b"\x00\xff"),
    "timestamp": ("T", 1_700_000_000),
    "void": ("V", None),
}
HEADERS_FLAG = struct.pack(">H", 1 << 13)


def declare_with(one, queue, arguments):
    """Sends queue.declare with encoded arguments."""
    one.raw_method(1, 50, 10, struct.pack(">H", 0) + shortstr(queue) + b"\x00" + arguments)


def test_trap_07_every_field_type_comes_back_as_sent(raw, queue):
    one = raw()
    one.open_channel()
    entries = [entry(name, kind, content) for name, (kind, content) in EVERY_TYPE.items()]
    nested = entry("table", "F", entries)
    array = entry("array", "A", [value(kind, content) for kind, content in EVERY_TYPE.values()])
    one.publish(1, "", queue, b"m", HEADERS_FLAG + table(*entries, nested, array))
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    properties = one.expect_content(1, spec.Basic.GetOk).properties
    assert properties[:2] == HEADERS_FLAG
    found, _ = read_table(properties, 2)
    assert found == {**EVERY_TYPE, "table": ("F", EVERY_TYPE), "array": ("A", list(EVERY_TYPE.values()))}


@pytest.mark.parametrize("kind", ["b", "B", "s", "u", "I", "i", "l"])
def test_trap_07_arguments_take_integers_of_any_width(raw, names, kind):
    one, queue = raw(), names.queue()
    one.open_channel()
    declare_with(one, queue, table(entry("x-max-length", kind, 1)))
    one.expect(1, spec.Queue.DeclareOk)
    one.publish(1, "", queue, b"first")
    one.publish(1, "", queue, b"second")
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    assert one.expect_content(1, spec.Basic.GetOk).body == b"second"


def test_trap_07_names_take_any_utf8_up_to_255_octets(channel, names):
    name = names("a name, with: \u00fc & \u4e2d ")
    name += "x" * (255 - len(name.encode()))
    names.queues.append(name)
    assert channel.queue_declare(name).method.queue == name
    channel.queue_bind(name, "amq.direct", routing_key="k" * 255)


@pytest.mark.parametrize(
    "argument, received, current",
    [("durable", "true", "false"), ("auto_delete", "true", "false")],
)
def test_trap_08_redeclared_with_another_flag(channel, names, argument, received, current):
    queue = names.queue()
    channel.queue_declare(queue)
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': "
        f"received '{received}' but current is '{current}'",
    ):
        channel.queue_declare(queue, **{argument: True})


@pytest.mark.parametrize(
    "first, second, difference",
    [
        ({"x-max-length": 1}, {}, "received none but current is the value '1' of type 'signedint'"),
        ({}, {"x-max-length": 5}, "received the value '5' of type 'signedint' but current is none"),
        ({"x-message-ttl": 1000}, {"x-message-ttl": 2000}, "received '2000' but current is '1000'"),
        (
            {"x-overflow": "drop-head"},
            {"x-overflow": "reject-publish"},
            "received 'reject-publish' but current is 'drop-head'",
        ),
        (
            {"x-overflow": "drop-head"},
            {},
            "received none but current is the value 'drop-head' of type 'longstr'",
        ),
        (
            {"x-dead-letter-exchange": ""},
            {"x-dead-letter-exchange": "amq.direct"},
            "received 'amq.direct' but current is ''",
        ),
        (
            {"x-single-active-consumer": True},
            {},
            "received none but current is the value 'true' of type 'bool'",
        ),
        ({"x-max-priority": 3}, {"x-max-priority": 4}, "received '4' but current is '3'"),
        ({"x-expires": 60000}, {"x-expires": 50000}, "received '50000' but current is '60000'"),
    ],
)
def test_trap_08_redeclared_with_another_argument(channel, names, first, second, difference):
    queue = names.queue()
    channel.queue_declare(queue, arguments=first)
    (argument,) = {**first, **second}
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}",
    ):
        channel.queue_declare(queue, arguments=second)


def test_trap_08_integers_compare_by_value_whatever_their_width(raw, names):
    one, queue = raw(), names.queue()
    one.open_channel()
    for kind in "bsIl":
        declare_with(one, queue, table(entry("x-max-length", kind, 7)))
        assert one.expect(1, spec.Queue.DeclareOk).queue == queue


def test_trap_08_unknown_arguments_may_differ(channel, names):
    queue = names.queue()
    channel.queue_declare(queue, arguments={"x-our-own-note": "one"})
    assert channel.queue_declare(queue, arguments={"x-our-own-note": "two"}).method.queue == queue
    assert channel.queue_declare(queue).method.queue == queue


@pytest.mark.parametrize(
    "flag, other",
    [
        ("durable", {"durable": True}),
        ("auto_delete", {"auto_delete": True}),
        ("internal", {"internal": True}),
    ],
)
def test_trap_08_redeclared_exchange_with_another_flag(channel, names, flag, other):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - inequivalent arg '{flag}' for exchange '{exchange}' in vhost '/': "
        "received 'true' but current is 'false'",
    ):
        channel.exchange_declare(exchange, "direct", **other)


def test_trap_08_redeclared_exchange_with_another_type(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    with channel_refused(
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{exchange}' in vhost '/': "
        "received 'fanout' but current is 'direct'",
    ):
        channel.exchange_declare(exchange, "fanout")


@pytest.mark.parametrize(
    "arguments, fault",
    [
        (
            {"x-message-ttl": "1000"},
            "invalid arg 'x-message-ttl' for queue '{queue}' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            {"x-message-ttl": -1},
            "invalid arg 'x-message-ttl' for queue '{queue}' in vhost '/': {value_negative,-1}",
        ),
        ({"x-expires": 0}, "invalid arg 'x-expires' for queue '{queue}' in vhost '/': {value_zero,0}"),
        (
            {"x-max-length": -1},
            "invalid arg 'x-max-length' for queue '{queue}' in vhost '/': {value_negative,-1}",
        ),
        (
            {"x-max-length-bytes": "1"},
            "invalid arg 'x-max-length-bytes' for queue '{queue}' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            {"x-max-priority": 256},
            "invalid arg 'x-max-priority' for queue '{queue}' in vhost '/': {max_value_exceeded,256}",
        ),
        (
            {"x-overflow": "explode"},
            "invalid arg 'x-overflow' for queue '{queue}' in vhost '/': invalid_overflow",
        ),
        (
            {"x-dead-letter-routing-key": "k"},
            "invalid arg 'x-dead-letter-routing-key' for queue '{queue}' in vhost '/': routing_key_but_no_dlx_defined",
        ),
        (
            {"x-dead-letter-exchange": 1},
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '{queue}' in vhost '/'",
        ),
        (
            {"x-single-active-consumer": "yes"},
            "invalid arg 'x-single-active-consumer' for queue '{queue}' in vhost '/': {unacceptable_type,longstr}",
        ),
        (
            {"x-overflow": 1},
            "invalid arg 'x-overflow' for queue '{queue}' in vhost '/': {unacceptable_type,signedint}",
        ),
        (
            {"x-message-ttl": 2**40},
            "invalid arg 'x-message-ttl' for queue '{queue}' in vhost '/': {value_too_large,1099511627776}",
        ),
        (
            {"x-queue-type": "nonsense"},
            "invalid arg 'x-queue-type' for queue '{queue}' in vhost '/': \"unsupported queue type 'nonsense'\"",
        ),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_trap_09_bad_queue_argument(channel, names, arguments, fault):
    queue = names.queue()
    with channel_refused(406, "PRECONDITION_FAILED - " + fault.replace("{queue}", queue)):
        channel.queue_declare(queue, arguments=arguments)


@pytest.mark.parametrize(
    "expiration, fault", [("abc", "no_integer"), ("-1", "{value_negative,-1}"), ("1.5", "...")]
)
def test_trap_09_expiration_is_a_string_of_milliseconds(channel, queue, expiration, fault):
    channel.basic_publish("", queue, b"m", pika.BasicProperties(expiration=expiration))
    closed_later(channel, 406, f"PRECONDITION_FAILED - invalid expiration '{expiration}': {fault}")


def test_trap_09_expiration_0_is_deliver_now_or_drop(connection, queue):
    channel = confirming(connection)
    soon = pika.BasicProperties(expiration="0")
    channel.basic_publish("", queue, b"nobody waits", soon)
    assert is_empty(channel, queue)
    taken = []
    channel.basic_consume(queue, lambda _c, _m, _p, body: taken.append(body), auto_ack=True)
    channel.basic_publish("", queue, b"somebody waits", soon)
    pump_until(connection, lambda: taken)
    assert taken == [b"somebody waits"]


LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. "
    "It could be originally declared on another connection or the exclusive property value does not match "
    "that of the original declaration."
)


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda ch, q: ch.queue_declare(q, exclusive=True), id="declare"),
        pytest.param(lambda ch, q: ch.queue_declare(q, passive=True), id="passive"),
        pytest.param(lambda ch, q: ch.basic_consume(q, lambda *_: None), id="consume"),
        pytest.param(lambda ch, q: ch.basic_get(q), id="get"),
        pytest.param(lambda ch, q: ch.queue_bind(q, "amq.direct", "k"), id="bind"),
        pytest.param(lambda ch, q: ch.queue_unbind(q, "amq.direct", "k"), id="unbind"),
        pytest.param(lambda ch, q: ch.queue_purge(q), id="purge"),
        pytest.param(lambda ch, q: ch.queue_delete(q), id="delete"),
    ],
)
def test_trap_10_exclusive_queue_from_another_connection(connect, channel, names, operation):
    queue = names("exclusive")
    channel.queue_declare(queue, exclusive=True)
    channel.queue_bind(queue, "amq.direct", "k")
    with channel_refused(405, LOCKED.format(queue=queue)):
        operation(connect().channel(), queue)


def test_trap_10_exclusive_flag_that_differs(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    with channel_refused(405, LOCKED.format(queue=queue)):
        channel.queue_declare(queue, exclusive=True)


def test_trap_10_another_connection_may_publish_to_it(connect, channel, names):
    queue = names("exclusive")
    channel.queue_declare(queue, exclusive=True)
    confirming(connect()).basic_publish("", queue, b"hello", mandatory=True)
    assert get_one(channel, queue).body == b"hello"


def test_trap_10_durable_exclusive_dies_with_its_connection(connect, channel, names):
    queue = names("exclusive")
    owner = connect()
    owner.channel().queue_declare(queue, durable=True, exclusive=True)
    owner.close()
    with channel_refused(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
        channel.queue_declare(queue, passive=True)


def test_trap_11_reserved_queue_name(connection):
    with channel_refused(403, "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'"):
        connection.channel().queue_declare("amq.foo")
    with channel_refused(404, "NOT_FOUND - no queue 'amq.foo' in vhost '/'"):
        connection.channel().queue_declare("amq.foo", passive=True)


def test_trap_11_reserved_exchange_name(channel):
    with channel_refused(403, "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'"):
        channel.exchange_declare("amq.foo", "direct")


def test_trap_11_system_exchange_is_not_deleted(channel):
    with channel_refused(
        403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    ):
        channel.exchange_delete("amq.direct")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda ch, q: ch.queue_bind(q, "", "k"), id="bind"),
        pytest.param(lambda ch, q: ch.queue_unbind(q, "", "k"), id="unbind"),
        pytest.param(lambda ch, q: ch.exchange_declare("", "direct"), id="declare"),
        pytest.param(lambda ch, q: ch.exchange_delete(""), id="delete"),
        pytest.param(lambda ch, q: ch.exchange_bind("", "amq.direct", "k"), id="bind as destination"),
        pytest.param(lambda ch, q: ch.exchange_bind("amq.direct", "", "k"), id="bind as source"),
    ],
)
def test_trap_11_default_exchange_is_untouchable(channel, queue, connection, operation):
    with channel_refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        operation(connection.channel(), queue)


def test_trap_11_internal_exchange_takes_no_publish(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", internal=True)
    channel.basic_publish(exchange, "k", b"m")
    closed_later(
        channel, 403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'"
    )


def test_trap_11_unknown_exchange_type(connect, bystander):
    with connection_refused(503, "COMMAND_INVALID - unknown exchange type 'x-nonsense'"):
        connect().channel().exchange_declare("whatever", "x-nonsense")


def test_trap_12_deleting_what_is_missing(channel, names):
    assert channel.queue_delete(names("missing")).method.message_count == 0
    channel.exchange_delete(names("missing"))
    channel.queue_declare("", exclusive=True)


def test_trap_12_unbinding_what_is_missing(channel, queue, names):
    channel.queue_unbind(queue, "amq.direct", "never bound")
    channel.queue_unbind(names("missing"), "amq.direct", "k")
    channel.queue_unbind(queue, names("missing"), "k")
    channel.exchange_unbind("amq.fanout", names("missing"), "k")
    channel.queue_declare("", exclusive=True)


def test_trap_12_cancelling_an_unknown_tag(raw):
    one = raw()
    one.open_channel()
    assert one.call(1, spec.Basic.Cancel("never used"), spec.Basic.CancelOk).consumer_tag == "never used"


def test_trap_12_binding_what_is_missing(connection, queue, names):
    missing = names("missing")
    with channel_refused(404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"):
        connection.channel().queue_bind(missing, "amq.direct", "k")
    with channel_refused(404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'"):
        connection.channel().queue_bind(queue, missing, "k")


def test_trap_12_publish_to_a_missing_exchange_closes_later(channel, names):
    missing = names("missing")
    channel.basic_publish(missing, "k", b"m")
    closed_later(channel, 404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'")


def test_trap_12_delete_if_unused_and_if_empty(connection, queue):
    consumer = connection.channel()
    consumer.basic_consume(queue, lambda *_: None)
    with channel_refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        connection.channel().queue_delete(queue, if_unused=True)
    consumer.close()
    fill(connection.channel(), queue, b"m")
    with channel_refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        connection.channel().queue_delete(queue, if_empty=True)


def test_trap_13_empty_name_is_the_last_declared_queue(channel, queue):
    channel.queue_bind("", "amq.direct", queue)
    channel.basic_publish("amq.direct", queue, b"m")
    assert get_one(channel, "").body == b"m"
    assert channel.queue_purge("").method.message_count == 0
    assert channel.queue_delete("").method.message_count == 0


def test_trap_13_empty_name_and_key_bind_the_queue_by_its_name(channel, queue):
    channel.queue_bind("", "amq.direct", "")
    channel.basic_publish("amq.direct", queue, b"m")
    assert get_one(channel, queue).body == b"m"


def test_trap_13_empty_name_with_nothing_declared(connection):
    for operation in (
        lambda ch: ch.queue_bind("", "amq.direct", "k"),
        lambda ch: ch.basic_get(""),
        lambda ch: ch.queue_purge(""),
        lambda ch: ch.queue_delete(""),
    ):
        with channel_refused(404, "NOT_FOUND - no previously declared queue"):
            operation(connection.channel())


def test_trap_13_generated_names(raw, queue):
    one = raw()
    one.open_channel()
    declared = one.call(1, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk).queue
    assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", declared)
    tag = one.call(1, spec.Basic.Consume(queue=queue), spec.Basic.ConsumeOk).consumer_tag
    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag)
