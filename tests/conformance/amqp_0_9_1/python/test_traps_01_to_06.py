"""Traps 1 to 6: protocol header, capabilities, login, tune, framing, channels."""

import struct

import pytest
from pika import spec
from raw import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, Raw, encode_method

PUBLISH = spec.Basic.Publish(exchange="", routing_key="nowhere")


@pytest.mark.parametrize("header", [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"])
def test_trap_01_accepted_protocol_headers(address, header):
    with Raw.started(address, header=header) as raw:
        assert (raw.start.version_major, raw.start.version_minor) == (0, 9)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"AMQP\x00\x00\x08\x00", id="0-8"),
        pytest.param(b"AMQP\x00\x00\x09\x02", id="wrong revision"),
        pytest.param(b"AMQP\x63\x63\x63\x63", id="unknown version"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"\x00" * 8, id="zeros"),
    ],
)
def test_trap_01_any_other_header_gets_ours_and_the_end(raw, bystander, header):
    one = raw(Raw.connect)
    one.send(header)
    assert one.drain() == PROTOCOL_HEADER
    bystander.check()


def test_trap_02_capabilities(raw):
    one = raw(Raw.started)
    capabilities = one.server_properties["capabilities"]
    for name in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        assert capabilities[name] is True, name


def test_trap_02_without_the_capability_no_consumer_cancel(raw, queue, channel):
    quiet, told = raw(capabilities={}), raw()
    for one in (quiet, told):
        one.open_channel()
        one.call(1, spec.Basic.Consume(queue=queue, consumer_tag="tag"), spec.Basic.ConsumeOk)
    channel.queue_delete(queue)
    assert told.expect(1, spec.Basic.Cancel).consumer_tag == "tag"
    quiet.call(1, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)


def test_trap_03_login_refused_with_the_capability(raw, address, bystander):
    one = raw(Raw.started)
    one.login(address, password="wrong")
    close = one.connection_closed_with(
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
        "For details see the broker logfile.",
    )
    assert (close.class_id, close.method_id) == (0, 0)


def test_trap_03_login_refused_without_the_capability_just_closes(raw, address):
    one = raw(Raw.started)
    one.login(address, password="wrong", capabilities={})
    one.expect_end()


def test_trap_03_unknown_user_is_refused_like_a_wrong_password(raw, address):
    one = raw(Raw.started)
    one.login(address, user="nobody-of-this-name")
    one.connection_closed_with(
        403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN..."
    )


def test_trap_03_unknown_vhost(raw):
    one = raw(Raw.tuned)
    one.tune_ok()
    one.method(0, spec.Connection.Open("no such vhost"))
    close = one.connection_closed_with(530, "NOT_ALLOWED - vhost no such vhost not found")
    assert (close.class_id, close.method_id) == (10, 40)


def test_trap_04_tune_proposes_2047_131072_60(raw):
    tune = raw(Raw.tuned).tune
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


@pytest.mark.parametrize(
    "name, channel_max, frame_max", [("channels", 2048, 131072), ("frames", 2047, 131073)]
)
def test_trap_04_tune_ok_above_the_maximum_is_refused(raw, product, bystander, name, channel_max, frame_max):
    one = raw(Raw.tuned)
    one.tune_ok(channel_max=channel_max, frame_max=frame_max)
    expect_tune_refused(one, product, name, channel_max if name == "channels" else frame_max)


@pytest.mark.parametrize("name", ["channels", "frames"])
def test_trap_04_zero_means_no_limit_and_is_refused(raw, product, name):
    one = raw(Raw.tuned)
    one.tune_ok(channel_max=0 if name == "channels" else None, frame_max=0 if name == "frames" else None)
    expect_tune_refused(one, product, name, 0)


def expect_tune_refused(one, product, name, value):
    """3.10 drops the socket; later versions and Fairlead say why."""
    if product == "RabbitMQ":
        one.expect_end()
        return
    field, limit = ("channel_max", 2047) if name == "channels" else ("frame_max", 131072)
    shown = "0 (no limit)" if value == 0 else value
    one.connection_closed_with(
        530,
        f"NOT_ALLOWED - negotiated {field} = {shown} is higher than the maximum allowed value ({limit})",
    )


def test_trap_04_frame_max_4096_is_let_in(raw, names):
    one = raw(frame_max=4096)
    one.open_channel()
    one.call(1, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)


def test_trap_04_heartbeat_of_the_client_wins(raw):
    one = raw(heartbeat=1)
    assert one.read_frame(heartbeats=True) == (HEARTBEAT, 0, b"")


def test_trap_05_frame_too_large(raw, bystander):
    one = raw(frame_max=8192)
    one.open_channel()
    one.frame(BODY, 1, b"x" * 9000)
    one.connection_closed_with(501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,9000,8184}")


def test_trap_05_largest_frame_passes(raw, queue, channel):
    one = raw(frame_max=8192)
    one.open_channel()
    body = b"x" * 8184
    one.publish(1, "", queue, body)
    one.call(1, spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk)
    one.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    assert one.expect_content(1, spec.Basic.GetOk).body == body


def test_trap_05_wrong_end_octet(raw, bystander):
    one = raw()
    one.frame(METHOD, 1, encode_method(spec.Channel.Open()), end=0x00)
    one.connection_closed_with(501, "FRAME_ERROR - type 1, ...")


@pytest.mark.parametrize("kind", [HEADER, BODY])
def test_trap_05_content_without_a_method(raw, bystander, kind):
    one = raw()
    one.open_channel()
    one.frame(kind, 1, struct.pack(">HHQH", 60, 0, 1, 0))
    one.connection_closed_with(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead")


def test_trap_05_method_where_a_header_is_due(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, PUBLISH)
    one.method(1, PUBLISH)
    one.connection_closed_with(
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    )


def test_trap_05_header_where_a_body_is_due(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, PUBLISH)
    one.header(1, 10)
    one.header(1, 10)
    one.connection_closed_with(
        505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
    )


def test_trap_05_heartbeat_on_a_channel(raw, bystander):
    one = raw()
    one.open_channel()
    one.frame(HEARTBEAT, 1, b"")
    one.connection_closed_with(505)


def test_trap_06_unopened_channel(raw, bystander):
    one = raw()
    one.method(1, spec.Queue.Declare(queue="", exclusive=True))
    one.connection_closed_with(504, "CHANNEL_ERROR - expected 'channel.open'")


def test_trap_06_opened_twice(raw, bystander):
    one = raw()
    one.open_channel()
    one.method(1, spec.Channel.Open())
    one.connection_closed_with(504, "CHANNEL_ERROR - second 'channel.open' seen")


def test_trap_06_more_channels_than_negotiated(raw, bystander):
    one = raw(channel_max=1)
    one.open_channel(1)
    one.method(2, spec.Channel.Open())
    one.connection_closed_with(
        530,
        "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)",
    )


def test_trap_06_after_channel_close_all_is_dropped_until_close_ok(raw, names, bystander):
    one = raw()
    one.open_channel()
    missing = names("missing")
    one.method(1, spec.Queue.Declare(queue=missing, passive=True))
    one.expect(1, spec.Channel.Close)
    queue = names.queue()
    one.method(1, spec.Queue.Declare(queue=queue))
    one.publish(1, "", queue, b"dropped")
    one.method(1, spec.Channel.CloseOk())
    one.open_channel()
    one.method(1, spec.Queue.Declare(queue=queue, passive=True))
    one.channel_closed_with(1, 404, f"NOT_FOUND - no queue '{queue}' in vhost '/'")


def test_trap_06_a_close_of_ours_that_crosses_theirs_is_answered(raw, names):
    one = raw()
    one.open_channel()
    one.method(1, spec.Queue.Declare(queue=names("missing"), passive=True))
    one.expect(1, spec.Channel.Close)
    one.method(1, spec.Channel.Close(200, "bye", 0, 0))
    one.expect(1, spec.Channel.CloseOk)
    one.method(1, spec.Channel.CloseOk())
    one.open_channel()
