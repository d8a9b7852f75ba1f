"""Classes connection and channel: what the handshake says, heartbeats, orderly ends."""

import time

import pika
import pytest
from pika import spec
from raw import HEARTBEAT, Raw, decode_method
from steps import channel_refused, depth, get_one
from waiting import until


def test_start_names_version_product_mechanisms_and_locale(raw):
    start = raw(Raw.started).start
    assert (start.version_major, start.version_minor) == (0, 9)
    assert "PLAIN" in text(start.mechanisms).split()
    assert "en_US" in text(start.locales).split()
    for name in ("product", "version", "platform"):
        assert start.server_properties[name]


def text(value):
    """pika gives long strings as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def expect_never_tuned(one):
    """Expects the end of the stream, and no connection.tune before it: nobody was let in."""
    methods = [decode_method(frame.payload) for frame in one.frames_until_end()]
    assert not any(isinstance(method, spec.Connection.Tune) for method in methods), methods


def test_unknown_mechanism_is_refused(raw, address, bystander):
    one = raw(Raw.started)
    one.login(address, mechanism="NO-SUCH-MECHANISM")
    expect_never_tuned(one)


@pytest.mark.parametrize("response", [b"", b"guest", b"\0guest", b"\0\0", b"\0guest\0guest\0guest"], ids=repr)
def test_malformed_plain_response_is_refused(raw, address, response, bystander):
    one = raw(Raw.started)
    one.login(address, response=response)
    expect_never_tuned(one)


def test_close_is_answered(raw):
    one = raw()
    one.open_channel()
    one.call(0, spec.Connection.Close(200, "done", 0, 0), spec.Connection.CloseOk)


def test_what_follows_our_close_is_ignored(raw, channel, queue):
    one = raw()
    one.open_channel()
    one.method(0, spec.Connection.Close(200, "done", 0, 0))
    one.expect(0, spec.Connection.CloseOk)
    try:
        one.publish(1, "", queue, b"too late")
    except OSError:
        pass  # the broker may have closed the socket first
    assert depth(channel, queue) == 0


def test_close_takes_exclusive_queues_along_before_close_ok(raw, channel, names):
    one, queue = raw(), names("exclusive")
    one.open_channel()
    one.call(1, spec.Queue.Declare(queue=queue, exclusive=True), spec.Queue.DeclareOk)
    one.call(0, spec.Connection.Close(200, "done", 0, 0), spec.Connection.CloseOk)
    assert channel.queue_declare(queue, exclusive=True).method.queue == queue


def test_silent_client_is_dropped_after_two_heartbeats(raw):
    one = raw(heartbeat=1)
    begun = time.monotonic()
    assert {frame.type for frame in one.frames_until_end()} <= {HEARTBEAT}
    assert time.monotonic() - begun >= 1


def test_client_that_heartbeats_stays(raw):
    one = raw(heartbeat=1)
    for _ in range(8):
        assert one.read_frame(heartbeats=True).type == HEARTBEAT
        one.frame(HEARTBEAT, 0, b"")
    one.open_channel()


def test_traffic_counts_as_heartbeat(raw, queue):
    one = raw(heartbeat=1)
    one.open_channel()
    for _ in range(8):
        assert one.read_frame(heartbeats=True).type == HEARTBEAT
        one.publish(1, "", queue, b"alive")
    one.method(1, spec.Queue.Declare(queue=queue, passive=True))
    while one.read_frame(heartbeats=True).type == HEARTBEAT:
        pass


def test_channels_are_independent(raw, names):
    one = raw()
    one.open_channel(1)
    one.open_channel(2)
    one.method(1, spec.Queue.Declare(queue=names("missing"), passive=True))
    one.channel_closed_with(1, 404)
    one.call(2, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)


def test_closed_channel_number_is_free_again(raw):
    one = raw()
    for _ in range(3):
        one.open_channel(5)
        one.call(5, spec.Channel.Close(200, "", 0, 0), spec.Channel.CloseOk)
    one.open_channel(5)


def test_highest_channel_number_works(raw):
    one = raw(channel_max=10)
    one.open_channel(10)
    one.call(10, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)


def test_channel_close_reports_the_offending_method(raw, names):
    one = raw()
    one.open_channel()
    one.method(1, spec.Queue.Declare(queue=names("missing"), passive=True))
    close = one.channel_closed_with(1, 404)
    assert (close.class_id, close.method_id) == (50, 10)


def test_interleaved_content_of_two_channels(raw, queue, channel):
    one = raw()
    for number in (1, 2):
        one.open_channel(number)
    for number in (1, 2):
        one.method(number, spec.Basic.Publish(exchange="", routing_key=queue))
    for number in (1, 2):
        one.header(number, 6)
    for half in (b"on ", b"it "):
        for number in (1, 2):
            one.frame(3, number, half if number == 1 else half.upper())
    assert {get_one(channel, queue).body for _ in range(2)} == {b"on it ", b"ON IT "}


def test_heartbeat_amid_content(raw, queue, channel):
    one = raw()
    one.open_channel()
    one.method(1, spec.Basic.Publish(exchange="", routing_key=queue))
    one.frame(HEARTBEAT, 0, b"")
    one.header(1, 2)
    one.frame(HEARTBEAT, 0, b"")
    one.frame(3, 1, b"ok")
    assert get_one(channel, queue).body == b"ok"


def test_many_channels_on_one_connection(connection):
    channels = [connection.channel() for _ in range(200)]
    assert len({channel.channel_number for channel in channels}) == 200
    for channel in channels:
        channel.close()


def test_update_secret_keeps_the_connection(connection, address):
    connection.update_secret(address.password, "rotation")
    assert connection.channel().queue_declare("", exclusive=True).method.queue


def test_connection_lost_without_close_frees_its_names(raw, connect, names):
    one, queue = raw(), names("exclusive")
    one.open_channel()
    one.call(1, spec.Queue.Declare(queue=queue, exclusive=True), spec.Queue.DeclareOk)
    one.close()

    def declared():
        try:
            return connect().channel().queue_declare(queue, exclusive=True)
        except pika.exceptions.ChannelClosedByBroker as locked:
            assert locked.reply_code == 405
            return None

    until(declared, "the name of a lost connection's queue")


def test_server_properties_are_seen_by_pika(connection):
    assert connection.publisher_confirms_supported
    assert connection.basic_nack_supported
    assert connection.consumer_cancel_notify_supported
    assert connection.exchange_exchange_bindings_supported


def test_passive_declare_error_leaves_other_channels_of_pika_alone(connection, names):
    other = connection.channel()
    with channel_refused(404):
        connection.channel().queue_declare(names("missing"), passive=True)
    assert other.queue_declare("", exclusive=True).method.queue
