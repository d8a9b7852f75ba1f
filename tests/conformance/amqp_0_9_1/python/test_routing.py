"""Routers: direct, topic, fanout, headers, consistent hash, random; sender-selected routing."""

import pika
import pytest
from fields import entry, table
from pika import spec
from steps import channel_refused, confirming, depth, get_one, is_empty

TOPIC_PATTERNS = [
    ("a", "a", True),
    ("a", "b", False),
    ("a.b", "a.b", True),
    ("a.b", "a", False),
    ("*", "a", True),
    ("*", "a.b", False),
    ("*", "", False),
    ("*.b", "a.b", True),
    ("a.*", "a.b", True),
    ("a.*", "a.b.c", False),
    ("a.*", "a", False),
    ("a.*.c", "a.b.c", True),
    ("#", "", True),
    ("#", "a.b.c", True),
    ("a.#", "a", True),
    ("a.#", "a.b.c", True),
    ("a.#", "b.a", False),
    ("#.c", "c", True),
    ("#.c", "a.b.c", True),
    ("#.c", "a.b.d", False),
    ("a.#.c", "a.c", True),
    ("a.#.c", "a.b.b.c", True),
    ("a.#.c", "a.b.c.d", False),
    ("#.b.#", "a.b.c", True),
    ("#.b.#", "a.c", False),
    ("#.#", "a", True),
    ("*.#", "a", True),
    ("*.#", "a.b", True),
    ("#.*", "a.b", True),
    ("a..b", "a..b", True),
    ("a.*.b", "a..b", True),
    ("", "", True),
    ("", "a", False),
    ("*.*", "a.", True),
]


def routes(connection, exchange, queue, key="", headers=None):
    """Publishes one message and tells whether the queue got it."""
    publisher = confirming(connection)
    publisher.basic_publish(exchange, key, b"m", pika.BasicProperties(headers=headers))
    return not is_empty(publisher, queue)


@pytest.mark.parametrize("pattern, key, matches", TOPIC_PATTERNS)
def test_topic_pattern(connection, channel, names, queue, pattern, key, matches):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, pattern)
    assert routes(connection, exchange, queue, key) is matches


def test_direct_takes_the_exact_key_only(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    channel.queue_bind(queue, exchange, "stock.*")
    assert routes(connection, exchange, queue, "stock.*")
    assert not routes(connection, exchange, queue, "stock.goog")


def test_direct_to_several_queues(connection, channel, names):
    exchange, queues = names.exchange(), [names.queue() for _ in range(3)]
    channel.exchange_declare(exchange, "direct")
    for queue in queues:
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, "k")
    confirming(connection).basic_publish(exchange, "k", b"m")
    assert [get_one(channel, queue).body for queue in queues] == [b"m"] * 3


def test_fanout_ignores_key_and_arguments(connection, channel, names):
    exchange, queues = names.exchange(), [names.queue() for _ in range(3)]
    channel.exchange_declare(exchange, "fanout")
    for number, queue in enumerate(queues):
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, f"key {number}")
    confirming(connection).basic_publish(exchange, "any", b"m")
    assert [get_one(channel, queue).body for queue in queues] == [b"m"] * 3


HEADER_CASES = [
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x"}, True),
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 3}, True),
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "y"}, False),
    ({"x-match": "any", "a": 1, "b": "x"}, {"a": 1}, True),
    ({"x-match": "any", "a": 1, "b": "x"}, {"b": "x", "a": 2}, True),
    ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2, "b": "y"}, False),
    ({"x-match": "any", "a": 1}, {}, False),
    ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1}, False),
    ({"x-match": "all"}, {}, True),
    ({"x-match": "all"}, {"a": 1}, True),
    ({"x-match": "any"}, {"a": 1}, False),
    ({"x-match": "all", "a": None}, {"a": "whatever"}, True),
    ({"x-match": "all", "a": None}, {"b": 1}, False),
    ({"x-match": "all", "a": "1"}, {"a": 1}, False),
    ({"x-match": "all", "a": True}, {"a": True}, True),
    ({"x-match": "all", "a": True}, {"a": False}, False),
    ({"x-match": "all", "a": 1, "x-foo": "y"}, {"a": 1}, True),
    ({"x-match": "any", "a": 1, "x-foo": "y"}, {"x-foo": "y"}, False),
    ({"x-match": "all-with-x", "a": 1, "x-foo": "y"}, {"a": 1}, False),
    ({"x-match": "all-with-x", "a": 1, "x-foo": "y"}, {"a": 1, "x-foo": "y"}, True),
    ({"x-match": "any-with-x", "a": 1, "x-foo": "y"}, {"x-foo": "y"}, True),
    ({"x-match": "any-with-x", "a": 1, "x-foo": "y"}, {"x-foo": "z"}, False),
]


@pytest.mark.parametrize("binding, headers, matches", HEADER_CASES)
def test_headers_match(connection, channel, names, queue, binding, headers, matches):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    channel.queue_bind(queue, exchange, arguments=binding)
    assert routes(connection, exchange, queue, headers=headers) is matches


def test_headers_exchange_and_a_message_without_headers(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    channel.queue_bind(queue, exchange, arguments={"x-match": "all", "a": 1})
    assert not routes(connection, exchange, queue)


def test_headers_compare_integers_by_value_whatever_their_width(connection, channel, names, queue, raw):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    channel.queue_bind(queue, exchange, arguments={"x-match": "all", "a": 1})
    one = raw()
    one.open_channel()
    one.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    one.publish(1, exchange, "", b"m", b"\x20\x00" + table(entry("a", "s", 1)))
    one.expect(1, spec.Basic.Ack)
    assert depth(channel, queue) == 1


def bind_weighted(channel, names, exchange, weights):
    """Queues bound to a hash exchange with these weights."""
    queues = [names.queue() for _ in weights]
    for queue, weight in zip(queues, weights, strict=False):
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, weight)
    return queues


def test_consistent_hash_spreads_and_repeats(connection, channel, names):
    exchange, publisher = names.exchange(), confirming(connection)
    channel.exchange_declare(exchange, "x-consistent-hash")
    queues = bind_weighted(channel, names, exchange, ["10", "10"])
    for number in range(400):
        publisher.basic_publish(exchange, f"key {number}", b"m")
    first = [depth(channel, queue) for queue in queues]
    assert sum(first) == 400 and min(first) > 80
    for number in range(400):
        publisher.basic_publish(exchange, f"key {number}", b"m")
    assert [depth(channel, queue) for queue in queues] == [2 * count for count in first]


def test_consistent_hash_weighs(connection, channel, names):
    exchange, publisher = names.exchange(), confirming(connection)
    channel.exchange_declare(exchange, "x-consistent-hash")
    light, heavy = bind_weighted(channel, names, exchange, ["1", "20"])
    for number in range(400):
        publisher.basic_publish(exchange, f"key {number}", b"m")
    assert depth(channel, heavy) > 2 * depth(channel, light)


def test_consistent_hash_on_a_header(connection, channel, names):
    exchange, publisher = names.exchange(), confirming(connection)
    channel.exchange_declare(exchange, "x-consistent-hash", arguments={"hash-header": "account"})
    queues = bind_weighted(channel, names, exchange, ["10", "10"])
    for number in range(100):
        publisher.basic_publish(exchange, f"{number}", b"m", pika.BasicProperties(headers={"account": "one"}))
    assert sorted(depth(channel, queue) for queue in queues) == [0, 100]


def test_consistent_hash_on_a_property(connection, channel, names):
    exchange, publisher = names.exchange(), confirming(connection)
    channel.exchange_declare(exchange, "x-consistent-hash", arguments={"hash-property": "correlation_id"})
    queues = bind_weighted(channel, names, exchange, ["10", "10"])
    for number in range(100):
        publisher.basic_publish(exchange, f"{number}", b"m", pika.BasicProperties(correlation_id="one"))
    assert sorted(depth(channel, queue) for queue in queues) == [0, 100]


@pytest.mark.parametrize(
    "key, fault",
    [
        ("abc", 'The binding key must be an integer: <<"abc">>'),
        ("0", "The binding key must be greater than 0"),
    ],
)
def test_consistent_hash_weight_must_be_a_positive_number(channel, names, queue, key, fault):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "x-consistent-hash")
    with channel_refused(406, f"PRECONDITION_FAILED - {fault}"):
        channel.queue_bind(queue, exchange, key)


@pytest.mark.parametrize(
    "arguments, fault",
    [
        ({"hash-property": "nonsense"}, "Unsupported property: nonsense"),
        (
            {"hash-header": "a", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
    ],
)
def test_consistent_hash_arguments_are_checked(channel, names, arguments, fault):
    with channel_refused(406, f"PRECONDITION_FAILED - {fault}"):
        channel.exchange_declare(names.exchange(), "x-consistent-hash", arguments=arguments)


def test_x_match_of_a_wrong_type(channel, queue):
    with channel_refused(
        406,
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr",
    ):
        channel.queue_bind(queue, "amq.headers", arguments={"x-match": 1})


def test_random_picks_one_queue_a_message(connection, channel, names):
    exchange, publisher = names.exchange(), confirming(connection)
    channel.exchange_declare(exchange, "x-random")
    queues = bind_weighted(channel, names, exchange, ["", ""])
    for _ in range(200):
        publisher.basic_publish(exchange, "", b"m")
    counts = [depth(channel, queue) for queue in queues]
    assert sum(counts) == 200 and min(counts) > 40


def test_cc_and_bcc_copy_and_bcc_stays_hidden(connection, channel, names):
    queues = {name: names.queue() for name in ("to", "cc", "bcc")}
    for queue in queues.values():
        channel.queue_declare(queue)
    headers = {"CC": [queues["cc"]], "BCC": [queues["bcc"]], "note": "kept"}
    confirming(connection).basic_publish("", queues["to"], b"m", pika.BasicProperties(headers=headers))
    for queue in queues.values():
        message = get_one(channel, queue)
        assert message.method.routing_key == queues["to"]
        assert message.properties.headers == {"CC": [queues["cc"]], "note": "kept"}


def test_cc_to_the_same_queue_delivers_once(connection, channel, queue):
    headers = {"CC": [queue, queue]}
    confirming(connection).basic_publish("", queue, b"m", pika.BasicProperties(headers=headers))
    assert depth(channel, queue) == 1


def test_cc_routes_through_the_exchange(connection, channel, names, queue):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "stock.#")
    assert routes(connection, exchange, queue, "weather", headers={"CC": ["stock.goog"]})


def test_cc_makes_a_mandatory_message_routable(connection, channel, names, queue):
    headers = {"CC": [queue]}
    publisher = confirming(connection)
    publisher.basic_publish("", names("missing"), b"m", pika.BasicProperties(headers=headers), mandatory=True)
    assert depth(channel, queue) == 1
