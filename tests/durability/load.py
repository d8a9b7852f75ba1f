"""The clients of the kill test, each a process: they do their work until the broker dies, come back, and keep a ledger.

Flow: the test tells in `Shared` where the broker listens, or that there is none -> each client connects, checks what it
can check of its own, works, loses its connection -> once the last life has ended, the ledgers come back by pipes.
"""

import json
import multiprocessing
import random
import time
import urllib.request

import pika
from ledger import Consumed, Declared, Published, Transacted, body_of
from routes import DEAD, DYING, QUEUES, ROUTES

PERSISTENT = pika.BasicProperties(delivery_mode=2)
LOST = (pika.exceptions.AMQPError, OSError)


class Shared:
    """What the test tells its clients; a port of 0 is: nobody listens."""

    def __init__(self):
        self.amqp = multiprocessing.Value("i", 0)
        self.http = multiprocessing.Value("i", 0)
        self.stop = multiprocessing.Value("b", 0)

    def announce(self, node):
        """The broker is ready."""
        self.http.value = int(node.http.rsplit(":", 1)[1])
        self.amqp.value = node.port

    def withdraw(self):
        """The broker is about to die."""
        self.amqp.value = 0

    def await_port(self, last):
        """The port of another life than the last one, or None at the end of the test."""
        while not self.stop.value:
            port = self.amqp.value
            if port not in (0, last):
                return port
            time.sleep(0.001)
        return None


def parameters(port):
    return pika.ConnectionParameters("127.0.0.1", port, heartbeat=0, connection_attempts=1, socket_timeout=5)


class Client(multiprocessing.Process):
    """Works in every life, and gives its ledger back at the end."""

    def __init__(self, shared, seed, ledger):
        super().__init__(daemon=True)
        self.shared, self.rng, self.ledger = shared, random.Random(seed), ledger
        self.receiver, self.sender = multiprocessing.Pipe(duplex=False)

    def run(self):
        port = 0
        while (port := self.shared.await_port(port)) is not None:
            self.ledger.lives += 1
            try:
                self.live(port)
            except LOST:
                pass
        self.sender.send(self.ledger)

    def connect(self, port):
        return pika.BlockingConnection(parameters(port))

    def live(self, port):
        """Works until the connection is lost."""
        raise NotImplementedError


class Publisher(Client):
    """Publishes with confirms, in windows, by all routes."""

    def __init__(self, shared, seed, name):
        super().__init__(shared, seed, Published(name))

    def live(self, port):
        connection = pika.SelectConnection(
            parameters(port),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.opened),
            on_open_error_callback=lambda connection, _error: connection.ioloop.stop(),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )
        connection.ioloop.start()

    def opened(self, channel):
        self.channel, self.open = channel, {}
        self.tag, self.oldest = 0, 1
        self.window = self.rng.choice((1, 10, 100, 300))
        channel.confirm_delivery(self.answered, lambda _ok: self.fill())

    def fill(self):
        while len(self.open) < self.window and self.channel.is_open:
            route = self.rng.randrange(len(ROUTES))
            number = self.ledger.sent(route)
            self.tag += 1
            self.open[self.tag] = number
            exchange, key, _ = ROUTES[route]
            self.channel.basic_publish(exchange, key, body_of(self.ledger.name, number, route), PERSISTENT)

    def answered(self, frame):
        method = frame.method
        first = self.oldest if method.multiple else method.delivery_tag
        for tag in range(first, method.delivery_tag + 1):
            number = self.open.pop(tag, None)
            if number is not None:
                self.ledger.answered(number, isinstance(method, pika.spec.Basic.Ack))
        self.oldest = min(self.open, default=self.tag + 1)
        self.fill()


class Consumer(Client):
    """Consumes several queues; acknowledges, rejects, gives back, and now and then has the journal come so far."""

    def __init__(self, shared, seed, queues):
        super().__init__(shared, seed, Consumed())
        self.queues, self.barriers = queues, 0

    def live(self, port):
        connection = self.connect(port)
        channel = connection.channel()
        channel.basic_qos(prefetch_count=self.rng.choice((5, 50, 200)))
        self.barrier_channel = connection.channel()
        self.barrier_channel.confirm_delivery()
        self.held, self.pending = [], []
        for queue in self.queues:
            channel.basic_consume(queue, lambda *delivery, queue=queue: self.delivered(queue, *delivery))
        every = self.rng.choice((10, 50, 150))
        while True:
            connection.process_data_events(time_limit=0.01)
            if self.held and self.rng.random() < 0.7:
                # Everything up to that tag: what was held, of all queues.
                tag, keys = self.held[-1][0], [key for _, key in self.held]
                self.held = []
                self.settle(lambda: channel.basic_ack(tag, multiple=True), keys)
            if len(self.pending) >= every:
                self.barrier()

    def settle(self, call, keys, rejected=False):
        self.ledger.settling(keys, rejected)
        call()
        self.pending += keys

    def delivered(self, queue, channel, method, _properties, body):
        key = self.ledger.delivered(queue, body, method.redelivered)
        chance = self.rng.random()
        if self.held or chance < 0.05:
            self.held.append((method.delivery_tag, key))
        elif chance < 0.08:
            channel.basic_nack(method.delivery_tag, requeue=True)
        elif chance < 0.2 and queue == DYING:
            self.settle(lambda: channel.basic_reject(method.delivery_tag, requeue=False), [key], rejected=True)
        else:
            self.settle(lambda: channel.basic_ack(method.delivery_tag), [key])

    def barrier(self):
        """A later synced operation on this connection: its answer says that what came before it is on disk."""
        settled, self.pending = self.pending, []
        self.barriers += 1
        if self.rng.random() < 0.5:
            self.barrier_channel.basic_publish("", "barrier", b"barrier", PERSISTENT)
        else:
            name = f"barrier.{self.name}.{self.barriers}"
            self.barrier_channel.queue_declare(name, durable=True)
        self.ledger.settled(settled)


class Declarer(Client):
    """Declares, binds, publishes to what it has bound, and deletes."""

    def __init__(self, shared, seed):
        super().__init__(shared, seed, Declared())

    def live(self, port):
        connection = self.connect(port)
        self.ledger.check(*(self.ask(path) for path in ("queues", "exchanges", "bindings")))
        channel = connection.channel()
        channel.confirm_delivery()
        while True:
            if self.ledger.count() > 12 or (self.ledger.count() and self.rng.random() < 0.3):
                self.delete(channel, self.ledger.oldest())
            else:
                self.declare(channel)

    def ask(self, what):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.shared.http.value}/api/{what}", timeout=5) as answer:
            return json.loads(answer.read())

    def declare(self, channel):
        ledger = self.ledger
        name = ledger.next_name()
        arguments = {"x-max-length": self.rng.randrange(1, 1000)}
        with ledger.doing("exchange", name):
            channel.exchange_declare(name, "topic", durable=True)
        with ledger.doing("queue", name, arguments):
            channel.queue_declare(name, durable=True, arguments=arguments)
        with ledger.doing("binding", name):
            channel.queue_bind(name, name, "#.key")
        with ledger.doing("message", name):
            channel.basic_publish(name, "a.key", name.encode(), PERSISTENT, mandatory=True)

    def delete(self, channel, name):
        ledger = self.ledger
        if self.rng.random() < 0.5:
            with ledger.undoing(name, "binding"):
                channel.queue_unbind(name, name, "#.key")
        if self.rng.random() < 0.5:
            with ledger.undoing(name, "exchange", "binding"):
                channel.exchange_delete(name)
        with ledger.undoing(name, "queue", "binding", "message"):
            channel.queue_delete(name)
        with ledger.undoing(name, "exchange"):
            channel.exchange_delete(name)
        ledger.forget(name)


class Transactor(Client):
    """A chain of transactions over four queues: each takes the last one's link, and adds its own everywhere."""

    def __init__(self, shared, seed):
        super().__init__(shared, seed, Transacted())

    def live(self, port):
        channel = self.connect(port).channel()
        channel.tx_select()
        tag = self.drain(channel)
        while True:
            if self.rng.random() < 0.2:
                for queue in ("tx.a", "tx.b", "tx.source"):
                    channel.basic_publish("", queue, b"-1", PERSISTENT)
                channel.tx_rollback()
            number = self.ledger.next()
            channel.basic_ack(tag)
            for queue in ("tx.a", "tx.b", "tx.c", "tx.source"):
                channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
            self.ledger.committing(number)
            channel.tx_commit()
            self.ledger.committed(number)
            tag, _ = self.link(channel)
            if self.rng.random() < 0.02:
                self.drain(channel, tag)

    def link(self, channel):
        """The last transaction's link, which the next one takes away: its tag, and its number in a list."""
        method, _, body = channel.basic_get("tx.source")
        return (method.delivery_tag, [int(body)]) if method else (None, [])

    def drain(self, channel, tag=None):
        """Checks what is in the queues, and takes it out in a transaction."""
        if tag is None:
            tag, links = self.link(channel)
            links += self.link(channel)[1]
        else:
            links = [self.ledger.last]
        found = {}
        for queue in ("tx.a", "tx.b", "tx.c"):
            found[queue] = []
            while (got := channel.basic_get(queue))[0]:
                found[queue].append(int(got[2]))
                channel.basic_ack(got[0].delivery_tag)
        self.ledger.check(links, found)
        self.ledger.draining()
        channel.tx_commit()
        self.ledger.drained()
        return tag


def declare_all(channel):
    """What all clients use."""
    for name, kind in (("kill.direct", "direct"), ("kill.fanout", "fanout"), ("kill.topic", "topic")):
        channel.exchange_declare(name, kind, durable=True)
    for queue in QUEUES:
        dying = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD} if queue == DYING else {}
        channel.queue_declare(queue, durable=True, arguments=dying)
    for number in "012":
        channel.queue_bind(f"d{number}", "kill.direct", number)
    channel.exchange_bind("kill.fanout", "kill.direct", "all")
    for queue in ("f0", "f1"):
        channel.queue_bind(queue, "kill.fanout")
    channel.queue_bind("t0", "kill.topic", "a.#")
    channel.queue_bind("t1", "kill.topic", "*.z")
    channel.queue_declare("barrier", durable=True, arguments={"x-max-length": 10})
    for queue in ("tx.a", "tx.b", "tx.c", "tx.source"):
        channel.queue_declare(queue, durable=True)
    channel.basic_publish("", "tx.source", b"0", PERSISTENT)
