"""What was declared durable is there again after a restart, exactly, and nothing else is."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError
from steps import Inbox, channel_refused, depth, get_bodies, get_one, is_empty
from waiting import until

EXCHANGES = {
    "direct": ("direct", {"alternate-exchange": "fanout"}),
    "topic": ("topic", {}),
    "fanout": ("fanout", {}),
    "headers": ("headers", {"note": "kept", "number": 7}),
    "hash": ("x-consistent-hash", {"hash-header": "customer"}),
    "property-hash": ("x-consistent-hash", {"hash-property": "message_id"}),
    "random": ("x-random", {"alternate-exchange": "direct"}),
}
QUEUES = {
    "plain": {},
    "limited": {"x-max-length": 3, "x-max-length-bytes": 1000, "x-overflow": "reject-publish"},
    "dropping": {"x-max-length": 2, "x-overflow": "drop-head"},
    "rejecting-to": {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "fanout"},
    "timed": {"x-message-ttl": 3_600_000, "x-expires": 3_600_000},
    "dying": {"x-dead-letter-exchange": "direct", "x-dead-letter-routing-key": "dead"},
    "priority": {"x-max-priority": 9},
    "single": {"x-single-active-consumer": True},
    "last-value": {"x-last-value-key": "symbol"},
    "grouped": {"x-group-key": "customer"},
    "browsed": {"x-browse-only": True},
    "named-classic": {"x-queue-type": "classic", "x-queue-mode": "lazy"},
}


def described(node):
    """All that the HTTP API says of what is declared; the predeclared exchanges are in it too."""
    exchanges = node.ask("/api/exchanges")
    bindings = node.ask("/api/bindings")
    fields = ("name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments")
    queues = [{field: queue[field] for field in fields} for queue in node.ask("/api/queues")]
    return [sorted(some, key=repr) for some in (exchanges, queues, bindings)]


def exists(channel, queue=None, exchange=None):
    """Whether a passive declare on a channel of its own succeeds."""
    other = channel.connection.channel()
    try:
        if queue:
            other.queue_declare(queue, passive=True)
        else:
            other.exchange_declare(exchange, passive=True)
    except ChannelClosedByBroker as refused:
        assert refused.reply_code == 404
        return False
    other.close()
    return True


def declare_all(channel):
    for name, (kind, arguments) in EXCHANGES.items():
        channel.exchange_declare(name, kind, durable=True, arguments=arguments)
    channel.exchange_declare("internal", "topic", durable=True, internal=True)
    for name, arguments in QUEUES.items():
        channel.queue_declare(name, durable=True, arguments=arguments)


def test_exchanges_and_queues_come_back_as_they_were(node, how):
    declare_all(node.channel())
    before = described(node)
    for _ in range(2):
        node.restart(how)
        assert described(node) == before
        declare_all(node.channel())
        assert described(node) == before, "declaring the same again changes nothing"


def test_a_different_declaration_is_refused_after_a_restart(node, how):
    declare_all(node.channel())
    node.restart(how)
    for name, (kind, arguments) in EXCHANGES.items():
        other = "fanout" if kind != "fanout" else "direct"
        with channel_refused(406, f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{name}' ..."):
            node.channel().exchange_declare(name, other, durable=True, arguments=arguments)
        with channel_refused(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '{name}' ..."):
            node.channel().exchange_declare(name, kind, durable=False, arguments=arguments)
    with channel_refused(406, "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' ..."):
        node.channel().exchange_declare("direct", "direct", durable=True)
    with channel_refused(406, "PRECONDITION_FAILED - inequivalent arg 'hash-header' ..."):
        node.channel().exchange_declare("hash", "x-consistent-hash", durable=True)
    with channel_refused(406, "PRECONDITION_FAILED - inequivalent arg 'internal' ..."):
        node.channel().exchange_declare("internal", "topic", durable=True)
    accepted = ("x-queue-type", "x-queue-mode")
    for name, arguments in QUEUES.items():
        for argument in arguments:
            if argument in accepted:
                continue
            less = {key: value for key, value in arguments.items() if key != argument}
            if argument == "x-dead-letter-exchange":
                less.pop("x-dead-letter-routing-key", None)
            with channel_refused(406, "PRECONDITION_FAILED - inequivalent arg 'x-..."):
                node.channel().queue_declare(name, durable=True, arguments=less)
        with channel_refused(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{name}' ..."):
            node.channel().queue_declare(name, durable=False, arguments=arguments)


def bind_all(channel):
    """Bindings of each kind; gives the queues that each publish must reach."""
    for queue in ("a", "b", "c"):
        channel.queue_declare(queue, durable=True)
    channel.queue_bind("a", "direct", "key")
    channel.queue_bind("b", "direct", "key")
    channel.queue_bind("c", "direct", "other")
    channel.queue_bind("a", "topic", "*.orders.#")
    channel.queue_bind("b", "topic", "eu.#")
    channel.queue_bind("a", "headers", "", {"x-match": "all", "format": "pdf", "pages": 2, "signed": True})
    channel.queue_bind("b", "headers", "", {"x-match": "any", "format": "pdf", "size": 1 << 40})
    channel.queue_bind("c", "headers", "same key", {"x-match": "any", "format": "txt"})
    channel.queue_bind("c", "headers", "same key", {"x-match": "all", "format": "csv"})
    channel.exchange_bind("topic", "direct", "eu.orders.1")
    channel.exchange_bind("fanout", "topic", "deep.#")
    channel.queue_bind("c", "fanout")
    channel.exchange_bind("internal", "direct", "inside")
    channel.queue_bind("c", "internal", "#")
    channel.queue_bind("a", "hash", "3")
    channel.queue_bind("b", "amq.direct", "predeclared")
    # What is unbound stays so.
    channel.queue_bind("c", "direct", "gone")
    channel.queue_unbind("c", "direct", "gone")
    channel.exchange_bind("fanout", "direct", "gone")
    channel.exchange_unbind("fanout", "direct", "gone")
    channel.queue_bind("c", "headers", "", {"x-match": "any", "unbound": 1})
    channel.queue_unbind("c", "headers", "", {"x-match": "any", "unbound": 1})


ROUTES = [
    ("direct", "key", {}, "ab"),
    ("direct", "other", {}, "c"),
    ("topic", "eu.orders.1", {}, "ab"),
    ("topic", "us.orders", {}, "a"),
    ("headers", "", {"format": "pdf", "pages": 2, "signed": True}, "ab"),
    ("headers", "", {"format": "pdf", "pages": 3, "signed": True}, "b"),
    ("headers", "", {"size": 1 << 40}, "b"),
    ("headers", "", {"format": "csv"}, "c"),
    ("headers", "", {"format": "txt"}, "c"),
    ("headers", "", {"unbound": 1}, ""),
    ("direct", "eu.orders.1", {}, "ab"),
    ("topic", "deep.down", {}, "c"),
    ("direct", "inside", {}, "c"),
    ("hash", "", {"customer": "x"}, "a"),
    ("amq.direct", "predeclared", {}, "b"),
    # The alternate exchange of `direct` is the fanout.
    ("direct", "gone", {}, "c"),
]


def check_routes(channel):
    for number, (exchange, key, headers, queues) in enumerate(ROUTES):
        body = f"{number}".encode()
        properties = pika.BasicProperties(headers=headers)
        if queues:
            channel.basic_publish(exchange, key, body, properties, mandatory=True)
        else:
            with pytest.raises(UnroutableError):
                channel.basic_publish(exchange, key, body, properties, mandatory=True)
        for queue in "abc":
            got = channel.basic_get(queue, auto_ack=True)[2]
            assert got == (body if queue in queues else None), (ROUTES[number], queue)
            assert is_empty(channel, queue), "routed once only"


def test_bindings_route_as_before(node, how):
    channel = node.channel()
    declare_all(channel)
    bind_all(channel)
    check_routes(channel)
    before = described(node)
    node.restart(how)
    assert described(node) == before
    check_routes(node.channel())
    # A binding can be taken away after a restart, and then stays away.
    channel = node.channel()
    channel.queue_unbind("a", "headers", "", {"signed": True, "pages": 2, "format": "pdf", "x-match": "all"})
    channel.exchange_unbind("topic", "direct", "eu.orders.1")
    after_unbind = described(node)
    assert len(after_unbind[2]) == len(before[2]) - 2
    node.restart(how)
    assert described(node) == after_unbind


def test_what_is_not_durable_goes(node, how):
    channel = node.channel()
    channel.exchange_declare("kept", "fanout", durable=True)
    channel.queue_declare("kept", durable=True)
    before = described(node)
    channel.exchange_declare("transient", "fanout", durable=False)
    channel.queue_declare("transient", durable=False)
    channel.queue_declare("exclusive", durable=True, exclusive=True)
    named = channel.queue_declare("", durable=True, exclusive=True).method.queue
    channel.queue_bind("transient", "kept")
    channel.queue_bind("kept", "transient")
    channel.queue_bind("exclusive", "kept")
    channel.exchange_bind("transient", "kept")
    channel.exchange_bind("kept", "transient")
    channel.basic_publish("kept", "", b"gone with its queues")
    node.restart(how)
    assert described(node) == before
    channel = node.channel()
    for name in ("transient", "exclusive", named):
        assert not exists(channel, queue=name)
    assert not exists(channel, exchange="transient")
    # Their names are free, and nothing of them is left behind.
    channel.queue_declare("exclusive", durable=True)
    channel.queue_declare("transient", durable=False)
    assert is_empty(channel, "exclusive") and is_empty(channel, "transient")
    with pytest.raises(UnroutableError):
        channel.basic_publish("kept", "", b"nobody is bound", mandatory=True)


def test_auto_delete_exchanges_and_queues(node, how):
    channel = node.channel()
    channel.queue_declare("durable", durable=True)
    for name in ("bound", "source", "left"):
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=True)
    channel.queue_bind("durable", "bound")
    channel.exchange_bind("bound", "source")
    channel.queue_bind("durable", "left")
    channel.queue_declare("served", durable=True, auto_delete=True)
    node.restart(how)
    channel = node.channel()
    for name in ("bound", "source", "left"):
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=True)
    channel.basic_publish("source", "", b"through", mandatory=True)
    assert get_one(channel, "durable").body == b"through"
    # The last binding takes the exchange with it, and that one the binding of the next.
    channel.queue_unbind("durable", "bound")
    assert not exists(channel, exchange="bound") and not exists(channel, exchange="source")
    assert exists(channel, exchange="left")
    # The queue goes with its last consumer, not before it had one.
    channel.queue_declare("served", durable=True, auto_delete=True)
    inbox = Inbox(channel, "served")
    channel.basic_cancel(inbox.tag)
    assert not exists(channel, queue="served")
    channel.queue_delete("durable")
    assert not exists(channel, exchange="left")
    gone = described(node)
    node.restart(how)
    assert described(node) == gone


def test_arguments_of_queues_are_in_force(node, how):
    channel = node.channel()
    declare_all(channel)
    channel.queue_declare("dead", durable=True)
    channel.queue_bind("dead", "direct", "dead")
    channel.queue_declare("displaced", durable=True)
    channel.queue_bind("displaced", "fanout")
    node.restart(how)
    channel = node.channel()
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", "limited", body)
    with pytest.raises(NackError):
        channel.basic_publish("", "limited", b"4")
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", "dropping", body)
    assert get_bodies(channel, "dropping", 2) == [b"2", b"3"]
    channel.basic_publish("", "rejecting-to", b"in")
    with pytest.raises(NackError):
        channel.basic_publish("", "rejecting-to", b"out")
    assert get_one(channel, "displaced").body == b"out"
    channel.basic_publish("", "dying", b"dies")
    channel.basic_reject(get_one(channel, "dying", auto_ack=False).method.delivery_tag, requeue=False)
    assert get_one(channel, "dead").body == b"dies"
    first = Inbox(node.channel(), "single")
    second = Inbox(node.channel(), "single")
    for body in (b"1", b"2"):
        channel.basic_publish("", "single", body)
    assert first.wait(2) == [b"1", b"2"] and second.settled() == []


def test_a_queue_expires_after_a_restart(node, how):
    channel = node.channel()
    channel.queue_declare("unused", durable=True, arguments={"x-expires": 1000})
    channel.queue_declare("used", durable=True, arguments={"x-expires": 1000})
    node.restart(how)
    channel = node.channel()
    Inbox(channel, "used")
    until(lambda: not any(queue["name"] == "unused" for queue in node.ask("/api/queues")), "the queue's end")
    assert exists(channel, queue="used")
    node.restart(how)
    assert not exists(node.channel(), queue="unused")


def test_deleted_things_stay_deleted_and_names_can_be_used_again(node, how):
    channel = node.channel()
    declare_all(channel)
    bind_all(channel)
    persistent = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("", "a", b"of the first queue", persistent)
    channel.queue_delete("a")
    channel.exchange_delete("topic")
    channel.queue_delete("b")
    channel.queue_declare("b", durable=True, arguments={"x-max-priority": 3})
    before = described(node)
    node.restart(how)
    assert described(node) == before
    channel = node.channel()
    assert not exists(channel, queue="a") and not exists(channel, exchange="topic")
    channel.queue_declare("a", durable=True)
    assert depth(channel, "a") == 0
    channel.basic_publish("", "a", b"of the second queue", persistent)
    node.restart(how)
    channel = node.channel()
    assert get_bodies(channel, "a", 1) == [b"of the second queue"] and is_empty(channel, "a")


DECLARED = """
topology:
  vhosts: [{name: other}]
  exchanges:
    - {name: orders, type: topic}
    - {name: passing, type: fanout, durable: false}
  queues:
    - {name: invoices, arguments: {x-max-priority: 4}}
    - {name: elsewhere, vhost: other}
    - {name: fleeting, durable: false}
  bindings:
    - {source: orders, destination: invoices, routing_key: "eu.*"}
    - {source: passing, destination: invoices}
"""


def test_the_configured_topology_meets_what_is_kept(make_node, how):
    node = make_node(DECLARED).start()
    before = described(node)
    assert {queue["name"] for queue in before[1]} == {"invoices", "elsewhere", "fleeting"}
    persistent = pika.BasicProperties(delivery_mode=2, priority=1)
    node.channel().basic_publish("orders", "eu.1", b"1", persistent, mandatory=True)
    elsewhere = node.connect(virtual_host="other").channel()
    elsewhere.confirm_delivery()
    elsewhere.basic_publish("", "elsewhere", b"kept", persistent)
    node.restart(how)
    assert described(node) == before
    node.channel().basic_publish("passing", "", b"2", persistent, mandatory=True)
    # Without the file, what is durable stays and what is not goes; the messages stay.
    node.configure("topology: {vhosts: [{name: other}]}\n")
    node.restart(how)
    names = {queue["name"] for queue in node.ask("/api/queues")}
    assert names == {"invoices", "elsewhere"}
    # A file that contradicts what is kept stops the start and touches nothing.
    node.end(how)
    node.configure(DECLARED.replace("x-max-priority: 4", "x-max-priority: 5"))
    node.spawn()
    assert node.ended() == 2
    log = node.log()
    assert "queue 'invoices'" in log and "x-max-priority" in log, log
    node.configure(DECLARED)
    node.start()
    assert described(node) == before
    channel = node.channel()
    assert get_bodies(channel, "invoices", 2) == [b"1", b"2"]
    other = node.connect(virtual_host="other").channel()
    assert get_one(other, "elsewhere").body == b"kept"
