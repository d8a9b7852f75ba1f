"""Nothing is promised that is not on disk: between a record's write and the word of it lies an fdatasync.

The broker runs under strace. A marker in each body, name or key finds the write that holds it; frames in the bytes of
socket writes say when the client was told.
"""

import pika
import pytest
from pika import spec
from raw import BODY, HEADER, METHOD, encode_frame, encode_method
from trace import acknowledged

PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def tell(capsys):
    """Prints past the capture."""

    def print_it(text):
        with capsys.disabled():
            print(f"\n{text}")

    return print_it


def marker(number):
    return b"<marker %d>" % number


def publish(queue, body):
    """The bytes of a persistent publish to a queue."""
    header = (60).to_bytes(2, "big") + bytes(2) + len(body).to_bytes(8, "big") + b"".join(PERSISTENT.encode())
    frames = (METHOD, encode_method(spec.Basic.Publish(exchange="", routing_key=queue))), (HEADER, header), (BODY, body)
    return b"".join(encode_frame(kind, 1, payload) for kind, payload in frames)


def test_confirms_one_at_a_time(node, tell):
    channel = node.channel()
    channel.queue_declare("queue", durable=True)
    count = 50
    for number in range(1, count + 1):
        channel.basic_publish("", "queue", marker(number), PERSISTENT)
    trace = node.traced()
    told = list(acknowledged(trace.methods(spec.Basic.Ack)))
    assert [tag for tag, _ in told] == list(range(1, count + 1))
    for tag, call in told:
        trace.check(marker(tag), call)
    syncs = trace.syncs_before(told[-1][1]) - trace.syncs_before(told[0][1])
    tell(f"{count} confirms one at a time: {syncs + 1} fdatasync")
    # Each waits for one of its own, begun behind its write.
    assert syncs >= count - 1


@pytest.mark.parametrize("window", [10, 60])
def test_confirms_in_windows(node, tell, window):
    raw = node.raw()
    raw.call(1, spec.Queue.Declare(queue="queue", durable=True), spec.Queue.DeclareOk)
    raw.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    confirmed = sent = 0
    count = 600
    while confirmed < count:
        some = range(sent + 1, min(confirmed + window, count) + 1)
        raw.send(b"".join(publish("queue", marker(number)) for number in some))
        sent = max(sent, *some) if some else sent
        ack = raw.expect(1, spec.Basic.Ack)
        confirmed = ack.delivery_tag if ack.multiple else confirmed + 1
    trace = node.traced()
    told = dict(acknowledged(trace.methods(spec.Basic.Ack)))
    assert sorted(told) == list(range(1, count + 1))
    for tag, call in told.items():
        trace.check(marker(tag), call)
    syncs = len({trace.synced(trace.written(marker(tag))).began for tag in told})
    tell(f"{count} confirms in windows of {window}: {syncs} fdatasync")
    assert count / window <= syncs < count


def test_commits(node, tell):
    setup = node.channel()
    for queue in "abc":
        setup.queue_declare(queue, durable=True)
    channel = node.channel(confirms=False)
    channel.tx_select()
    count = 20
    for number in range(1, count + 1):
        for queue in "abc":
            channel.basic_publish("", queue, queue.encode() + marker(number), PERSISTENT)
        channel.tx_commit()
    trace = node.traced()
    told = trace.methods(spec.Tx.CommitOk)
    assert len(told) == count
    for number, (_, call) in enumerate(told, 1):
        for queue in "abc":
            trace.check(queue.encode() + marker(number), call)
    tell(f"{count} commits over three queues: {trace.syncs_before(told[-1][1])} fdatasync")


def test_declarations(node):
    channel = node.channel()
    count = 10
    for number in range(count):
        channel.queue_declare(f"queue<{number}>", durable=True)
        channel.exchange_declare(f"exchange<{number}>", "topic", durable=True)
        channel.queue_bind(f"queue<{number}>", f"exchange<{number}>", f"key<{number}>")
        channel.exchange_bind(f"exchange<{number}>", "amq.fanout", f"inner<{number}>")
        channel.queue_unbind(f"queue<{number}>", f"exchange<{number}>", f"key<{number}>")
        channel.queue_delete(f"queue<{number}>")
        channel.exchange_delete(f"exchange<{number}>")
    trace = node.traced()
    answers = (
        (spec.Queue.DeclareOk, b"queue<%d>", None),
        (spec.Exchange.DeclareOk, b"exchange<%d>", None),
        (spec.Queue.BindOk, b"key<%d>", None),
        (spec.Exchange.BindOk, b"inner<%d>", None),
        (spec.Queue.UnbindOk, b"key<%d>", spec.Exchange.BindOk),
        (spec.Queue.DeleteOk, b"queue<%d>", spec.Queue.UnbindOk),
        (spec.Exchange.DeleteOk, b"exchange<%d>", spec.Queue.DeleteOk),
    )
    told = {kind: [call for _, call in trace.methods(kind)] for kind, _, _ in answers}
    for kind, name, behind in answers:
        assert len(told[kind]) == count
        for number, call in enumerate(told[kind]):
            since = told[behind][number].began if behind else -1
            trace.check(name % number, call, since)


def test_a_declaration_that_somebody_else_has_just_made(node):
    """Whoever is told that a queue is there may rely on it, whoever declared it."""
    clients = [node.raw() for _ in range(4)]
    count = 25
    for number in range(count):
        declare = spec.Queue.Declare(queue=f"queue<{number}>", durable=True)
        frame = encode_frame(METHOD, 1, encode_method(declare))
        for client in clients:
            client.send(frame)
        for client in clients:
            client.expect(1, spec.Queue.DeclareOk)
    trace = node.traced()
    told = trace.methods(spec.Queue.DeclareOk)
    assert len(told) == count * len(clients)
    for method, call in told:
        trace.check(method.queue.encode(), call)


def test_several_clients_at_once(node, tell):
    """One sync may be for many; none is for a record that came behind its begin."""
    clients = [node.raw() for _ in range(6)]
    for number, client in enumerate(clients):
        client.call(1, spec.Queue.Declare(queue=f"queue.{number}", durable=True), spec.Queue.DeclareOk)
        client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    count = 40
    for tag in range(1, count + 1):
        for number, client in enumerate(clients):
            client.send(publish(f"queue.{number}", b"%d" % number + marker(tag)))
        for client in clients:
            client.expect(1, spec.Basic.Ack)
    ports = [client.sock.getsockname()[1] for client in clients]
    assert len(set(ports)) == len(clients)
    trace = node.traced()
    by_socket = {}
    for method, call in trace.methods(spec.Basic.Ack):
        by_socket.setdefault(call.file, []).append((method, call))
    # Sockets in the order in which they were accepted are clients in theirs.
    streams = [by_socket[file] for file in sorted(by_socket, key=lambda file: int(file.split(":")[0]))]
    assert len(streams) == len(clients)
    for number, methods in enumerate(streams):
        told = list(acknowledged(methods))
        assert len(told) == count
        for tag, call in told:
            trace.check(b"%d" % number + marker(tag), call)
    syncs = trace.syncs_before(trace.methods(spec.Basic.Ack)[-1][1])
    tell(f"{count * len(clients)} confirms of {len(clients)} clients one at a time: {syncs} fdatasync")
