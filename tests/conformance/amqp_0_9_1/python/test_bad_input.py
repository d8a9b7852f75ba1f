"""Bad input: each fault gets its reply code and a text that names it, and another client goes on undisturbed.

RabbitMQ 3.10 lets its reader crash on some of these (the socket just ends) or lets them pass; `SOCKET_ENDS` and
`PASSES` say so, and what Fairlead answers stands beside it.
"""

import socket
import struct

import pytest
from fields import entry, longstr, shortstr, table, value
from pika import spec
from raw import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, Raw, encode_frame, encode_method
from steps import confirming, depth
from waiting import until

SOCKET_ENDS = "RabbitMQ's reader crashes and the socket ends"
PASSES = "RabbitMQ does not look"
PUBLISH = spec.Basic.Publish(exchange="", routing_key="nowhere")
DECLARE = b"\0\0" + shortstr("") + b"\x08"


def declare_arguments(arguments):
    """Sends queue.declare (server-named, exclusive) with these encoded arguments."""
    return lambda one: one.raw_method(1, 50, 10, DECLARE + arguments)


def content(*steps):
    """Sends basic.publish, then what the steps send."""

    def send(one):
        one.method(1, PUBLISH)
        for step in steps:
            step(one)

    return send


def nested(depth, kind):
    """A table with tables or arrays nested this deep."""
    inner = b""
    for _ in range(depth):
        inner = value("A", [inner]) if kind == "A" else entry("a", "F", [inner])
    return table(shortstr("a") + inner) if kind == "A" else longstr(inner)


FRAME_ERRORS = [
    (
        "frame of an unknown type",
        lambda one: one.frame(99, 1, b"abc"),
        'type 99, all octets = <<"abc">>: unknown_frame',
    ),
    ("frame of type 0", lambda one: one.frame(0, 0, b""), "type 0, all octets = <<>>: unknown_frame"),
    (
        "heartbeat with a payload",
        lambda one: one.frame(HEARTBEAT, 0, b"abc"),
        'type 8, all octets = <<"abc">>: unknown_frame',
    ),
    (
        "method frame of two octets",
        lambda one: one.frame(METHOD, 1, b"\0\x32"),
        "type 1, all octets = <<0,50>>: unknown_frame",
    ),
    ("empty method frame", lambda one: one.frame(METHOD, 1, b""), "type 1, all octets = <<>>: unknown_frame"),
    (
        "protocol header in the middle",
        lambda one: one.send(PROTOCOL_HEADER),
        "type 65, all octets = <<>>: {frame_too_large,1342177289,131064}",
    ),
    (
        "random octets",
        lambda one: one.send(bytes(range(256)) * 4),
        "type 0, all octets = <<>>: {frame_too_large,50595078,131064}",
    ),
    (
        "queue name that is not UTF-8",
        lambda one: one.raw_method(1, 50, 10, b"\0\0" + shortstr(b"\xff\xfe") + b"\x08" + table()),
        "Malformed UTF-8 in shortstr",
    ),
]


@pytest.mark.parametrize("send, fault", [pytest.param(s, f, id=n) for n, s, f in FRAME_ERRORS])
def test_frame_error(raw, bystander, send, fault):
    one = raw()
    one.open_channel()
    send(one)
    one.connection_closed_with(501, f"FRAME_ERROR - {fault}")


CANNOT_DECODE = [
    ("method without its arguments", lambda one: one.raw_method(1, 50, 10)),
    ("arguments cut short", lambda one: one.raw_method(1, 50, 10, b"\0\0\x10abc")),
    ("octets behind the last argument", declare_arguments(table() + b"extra")),
    ("table longer than its frame", declare_arguments(struct.pack(">I", 1000) + b"abc")),
    ("access.request cut short", lambda one: one.raw_method(1, 30, 10, b"\xff")),
]


@pytest.mark.parametrize("send", [pytest.param(s, id=n) for n, s in CANNOT_DECODE])
def test_arguments_that_cannot_be_decoded(raw, bystander, send):
    one = raw()
    one.open_channel()
    send(one)
    one.connection_closed_with(501, "FRAME_ERROR - cannot decode...")


DIFFERENT = [
    ("unknown class", lambda one: one.raw_method(1, 99, 10), SOCKET_ENDS, 540),
    ("unknown class on channel 0", lambda one: one.raw_method(0, 99, 10), SOCKET_ENDS, 540),
    ("unknown method", lambda one: one.raw_method(1, 50, 99), SOCKET_ENDS, 540),
    ("table entry cut short", declare_arguments(longstr(b"\x05ab")), SOCKET_ENDS, 501),
    ("unknown field type", declare_arguments(longstr(b"\x01aZ123")), SOCKET_ENDS, 502),
    ("field value beyond its table", declare_arguments(longstr(b"\x01aS\0\0\x10\0abc")), SOCKET_ENDS, 501),
    ("array beyond its table", declare_arguments(longstr(b"\x01aA\0\0\x10\0abc")), SOCKET_ENDS, 501),
    ("table nesting bomb", declare_arguments(nested(5000, "F")), PASSES, 502),
    ("array nesting bomb", declare_arguments(nested(5000, "A")), PASSES, 502),
    (
        "nesting bomb in headers",
        content(lambda one: one.header(1, 0, b"\x20\0" + nested(5000, "F"))),
        PASSES,
        502,
    ),
    ("properties cut short", content(lambda one: one.header(1, 0, b"\x80\0\x10ab")), 541, 501),
    ("octets behind the properties", content(lambda one: one.header(1, 0, b"\0\0extra")), 541, 501),
    ("property flags that continue", content(lambda one: one.header(1, 0, b"\0\x01\0\0")), 541, 502),
    (
        "unknown field type in headers",
        content(lambda one: one.header(1, 0, b"\x20\0" + longstr(b"\x01aZ123"))),
        541,
        502,
    ),
    (
        "body longer than announced",
        content(lambda one: one.header(1, 3), lambda one: one.frame(BODY, 1, b"abcdef")),
        PASSES,
        505,
    ),
]


@pytest.mark.parametrize("send, theirs, ours", [pytest.param(s, t, o, id=n) for n, s, t, o in DIFFERENT])
def test_fault_that_fairlead_names(raw, product, bystander, send, theirs, ours):
    one = raw()
    one.open_channel()
    send(one)
    if product != "RabbitMQ":
        close = one.connection_closed_with(ours)
        assert " - " in close.reply_text, "the text names the fault"
    elif theirs == SOCKET_ENDS:
        assert not list(one.frames_until_end())
    elif theirs == PASSES:
        one.close()
    else:
        one.connection_closed_with(theirs)


UNEXPECTED_FRAMES = [
    (
        "header for another class",
        content(lambda one: one.header(1, 3, class_id=50)),
        "expected content header for class 60, got one for class 50 instead",
    ),
    (
        "body at once",
        content(lambda one: one.frame(BODY, 1, b"abc")),
        "expected content header for class 60, got non content header frame instead",
    ),
    (
        "method amid a body",
        content(lambda one: one.header(1, 3), lambda one: one.method(1, spec.Channel.Close(200, "", 0, 0))),
        "expected content body, got non content body frame instead",
    ),
    (
        "body on an unopened channel",
        lambda one: one.frame(BODY, 7, b"abc"),
        "expected method frame, got non method frame instead",
    ),
    (
        "header on an unopened channel",
        lambda one: one.header(7, 3),
        "expected method frame, got non method frame instead",
    ),
]


@pytest.mark.parametrize("send, fault", [pytest.param(s, f, id=n) for n, s, f in UNEXPECTED_FRAMES])
def test_unexpected_frame(raw, bystander, send, fault):
    one = raw()
    one.open_channel()
    send(one)
    one.connection_closed_with(505, f"UNEXPECTED_FRAME - {fault}")


def after_own_close(one):
    """Closes channel 1 and uses it again."""
    one.call(1, spec.Channel.Close(200, "", 0, 0), spec.Channel.CloseOk)
    one.method(1, spec.Queue.Declare(queue="", exclusive=True))


OUT_OF_STATE = [
    ("channel used after its close", after_own_close, 504),
    ("close of an unopened channel", lambda one: one.method(7, spec.Channel.Close(200, "", 0, 0)), 504),
    ("publish on channel 0", lambda one: one.method(0, PUBLISH), 504),
    ("queue.declare on channel 0", lambda one: one.method(0, spec.Queue.Declare(queue="x")), 504),
    ("channel.open on channel 0", lambda one: one.method(0, spec.Channel.Open()), 504),
    ("connection.close on a channel", lambda one: one.method(1, spec.Connection.Close(200, "", 0, 0)), 503),
    ("connection.open once more", lambda one: one.method(0, spec.Connection.Open("/")), 504),
    ("connection.tune-ok once more", lambda one: one.method(0, spec.Connection.TuneOk(0, 131072, 0)), 504),
    (
        "connection.start-ok once more",
        lambda one: one.method(0, spec.Connection.StartOk({}, "PLAIN", "", "")),
        504,
    ),
    ("connection.close-ok unasked", lambda one: one.method(0, spec.Connection.CloseOk()), 504),
    ("connection.blocked from a client", lambda one: one.method(0, spec.Connection.Blocked("no")), 504),
    ("queue.declare-ok from a client", lambda one: one.method(1, spec.Queue.DeclareOk("q", 1, 1)), 503),
    ("channel.open-ok from a client", lambda one: one.method(1, spec.Channel.OpenOk()), 503),
    ("channel.close-ok unasked", lambda one: one.method(1, spec.Channel.CloseOk()), 503),
    ("channel.flow-ok unasked", lambda one: one.method(1, spec.Channel.FlowOk(True)), 503),
    (
        "exchange.declare without a type",
        lambda one: one.method(1, spec.Exchange.Declare(exchange="e", type="")),
        503,
    ),
]


@pytest.mark.parametrize("send, code", [pytest.param(s, c, id=n) for n, s, c in OUT_OF_STATE])
def test_method_out_of_state(raw, bystander, send, code):
    one = raw()
    one.open_channel()
    send(one)
    one.connection_closed_with(code)


BEFORE_LOGIN = [
    ("connection.open", encode_frame(METHOD, 0, encode_method(spec.Connection.Open("/")))),
    ("channel.open", encode_frame(METHOD, 1, encode_method(spec.Channel.Open()))),
    ("basic.publish", encode_frame(METHOD, 1, encode_method(PUBLISH))),
    ("a frame of 2 GiB", struct.pack(">BHI", METHOD, 0, 2**31)),
    ("a frame of 9000 octets", encode_frame(METHOD, 0, b"x" * 9000)),
    ("random octets", bytes(range(256))),
    (
        "a table bomb in start-ok",
        encode_frame(
            METHOD,
            0,
            struct.pack(">HH", 10, 11)
            + nested(2000, "F")
            + shortstr("PLAIN")
            + longstr("\0guest\0guest")
            + shortstr("en_US"),
        ),
    ),
]


@pytest.mark.parametrize("data", [pytest.param(d, id=n) for n, d in BEFORE_LOGIN])
def test_before_the_login(raw, bystander, data):
    one = raw(Raw.started)
    one.send(data)
    tune = struct.pack(">I", spec.Connection.Tune.INDEX)
    assert not any(frame.payload.startswith(tune) for frame in one.frames_until_end())


@pytest.mark.parametrize(
    "method",
    [spec.Channel.Open(), spec.Queue.Declare(queue="x")],
    ids=lambda method: method.NAME,
)
def test_channel_before_connection_open(raw, bystander, method):
    one = raw(Raw.tuned)
    one.tune_ok()
    one.method(1, method)
    close = one.connection_closed_with((504, 505))
    assert " - " in close.reply_text, "the text names the fault"


@pytest.mark.parametrize("frame_max", [1, 4095])
def test_frame_max_below_the_minimum(raw, bystander, frame_max):
    one = raw(Raw.tuned)
    one.tune_ok(frame_max=frame_max)
    one.method(0, spec.Connection.Open("/"))
    opened = struct.pack(">I", spec.Connection.OpenOk.INDEX)
    assert not any(frame.payload.startswith(opened) for frame in one.frames_until_end())


CUTS = {
    "in the protocol header": PROTOCOL_HEADER[:5],
    "in a frame's head": b"\x01\x00\x00",
    "in a method": encode_frame(METHOD, 1, encode_method(spec.Queue.Declare(queue="x" * 100)))[:-40],
    "before the frame end": encode_frame(METHOD, 1, encode_method(spec.Channel.Open()))[:-1],
}


@pytest.mark.parametrize("place", CUTS)
def test_client_that_vanishes(raw, bystander, place):
    one = raw(Raw.connect if place == "in the protocol header" else Raw.open)
    one.send(CUTS[place])
    one.close()
    bystander.check()


def test_client_that_vanishes_amid_content_publishes_nothing(raw, channel, queue, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Publish(exchange="", routing_key=queue))
    one.header(1, 1000)
    one.frame(BODY, 1, b"half of it")
    one.close()
    bystander.check()
    assert depth(channel, queue) == 0


def test_every_prefix_of_a_publish_is_harmless(raw, names, bystander):
    whole = (
        encode_frame(METHOD, 1, encode_method(PUBLISH))
        + encode_frame(HEADER, 1, struct.pack(">HHQH", 60, 0, 3, 0))
        + encode_frame(BODY, 1, b"abc")
    )
    for length in range(0, len(whole), 3):
        one = raw()
        one.open_channel()
        one.send(whole[:length])
        one.close()


def test_one_octet_at_a_time(raw, queue):
    one = raw()
    one.open_channel()
    data = encode_frame(METHOD, 1, encode_method(spec.Queue.Declare(queue=queue, passive=True)))
    for octet in data:
        one.send(bytes([octet]))
    assert one.expect(1, spec.Queue.DeclareOk).queue == queue


def test_500_half_open_handshakes(raw, address, bystander):
    half_open = []
    for number in range(500):
        one = raw(Raw.connect)
        one.send(PROTOCOL_HEADER[: number % 9])
        half_open.append(one)
    bystander.check()
    with Raw.open(address) as one:
        one.open_channel()
    for one in half_open:
        one.close()


def test_500_logins_left_in_the_middle(raw, address, bystander):
    for _ in range(500):
        raw(Raw.started)
    bystander.check()
    with Raw.open(address) as one:
        one.open_channel()


def test_client_that_stops_reading(raw, connection, names, bystander):
    one, queue = raw(Raw.open), names.queue()
    one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.open_channel()
    one.call(1, spec.Queue.Declare(queue=queue), spec.Queue.DeclareOk)
    one.call(1, spec.Basic.Consume(queue=queue, no_ack=True), spec.Basic.ConsumeOk)
    publisher = confirming(connection)
    for _ in range(64):
        publisher.basic_publish("", queue, bytes(262144))
    bystander.check()
    one.close()
    until(
        lambda: publisher.queue_declare(queue, passive=True).method.consumer_count == 0,
        "the end of the reader",
    )


def test_client_that_never_reads_its_replies(raw, bystander):
    one = raw()
    one.open_channel()
    one.sock.settimeout(0.5)
    question = encode_frame(
        METHOD, 1, encode_method(spec.Exchange.Declare(exchange="amq.direct", passive=True))
    )
    try:
        for _ in range(1000):
            one.send(question * 1000)
    except TimeoutError:
        pass  # the broker has stopped reading from a client that does not read
    bystander.check()


def test_flood_of_heartbeats(raw, bystander):
    one = raw()
    one.send(encode_frame(HEARTBEAT, 0, b"") * 100_000)
    one.open_channel()


def test_a_thousand_refused_channels_in_a_row(raw, names, bystander):
    one, missing = raw(), names("missing")
    for _ in range(1000):
        one.open_channel()
        one.method(1, spec.Queue.Declare(queue=missing, passive=True))
        one.channel_closed_with(1, 404)
