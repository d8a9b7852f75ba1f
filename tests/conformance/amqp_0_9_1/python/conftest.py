"""Fixtures: the broker under test (AMQP_URL), connections that are closed, names that are unique and cleaned up."""

import itertools
import os
import uuid
from collections import namedtuple
from urllib.parse import unquote, urlsplit

import pika
import pytest

pytest.register_assert_rewrite("raw", "steps")

from raw import Raw  # noqa: E402 - after the rewrite is registered
from steps import get_one  # noqa: E402

Address = namedtuple("Address", "url host port user password vhost")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def address():
    """Where the broker listens and who we are."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    parts = urlsplit(url)
    return Address(
        url=url,
        host=parts.hostname,
        port=parts.port or 5672,
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
    )


@pytest.fixture(scope="session")
def product(address):
    """The product that connection.start names."""
    with Raw.started(address) as raw:
        return raw.server_properties["product"]


@pytest.fixture(autouse=True)
def _skip_where_fairlead_differs(request):
    for name, skipped_for in (("fairlead_only", "RabbitMQ"), ("rabbitmq_only", "Fairlead")):
        marker = request.node.get_closest_marker(name)
        if marker and request.getfixturevalue("product") == skipped_for:
            pytest.skip(f"{name}: {marker.args[0]}")


@pytest.fixture
def connect(address):
    """A factory of pika connections; parameters override the URL's. All are closed at the end of the test."""
    opened = []

    def open_connection(**overrides):
        parameters = pika.ConnectionParameters(
            host=address.host,
            port=address.port,
            virtual_host=address.vhost,
            credentials=pika.PlainCredentials(address.user, address.password),
            **{"heartbeat": 0, **overrides},
        )
        connection = pika.BlockingConnection(parameters)
        opened.append(connection)
        return connection

    yield open_connection
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    """One connection."""
    return connect()


@pytest.fixture
def channel(connection):
    """One channel of `connection`."""
    return connection.channel()


class Names:
    """Unique names; what was named is deleted when the test ends."""

    def __init__(self):
        self.prefix = f"conformance.{uuid.uuid4().hex[:8]}"
        self.queues = []
        self.exchanges = []

    def __call__(self, kind="name"):
        return f"{self.prefix}.{kind}.{next(_numbers)}"

    def queue(self):
        """A queue name that no other test uses."""
        self.queues.append(self("queue"))
        return self.queues[-1]

    def exchange(self):
        """An exchange name that no other test uses."""
        self.exchanges.append(self("exchange"))
        return self.exchanges[-1]


@pytest.fixture
def names(connect):
    """Makes unique names and deletes what they named."""
    made = Names()
    yield made
    if made.queues or made.exchanges:
        cleaner = connect().channel()
        for queue in made.queues:
            cleaner.queue_delete(queue)
        for exchange in made.exchanges:
            cleaner.exchange_delete(exchange)


@pytest.fixture
def queue(channel, names):
    """A plain queue on `channel`."""
    name = names.queue()
    channel.queue_declare(name)
    return name


@pytest.fixture
def raw(address):
    """A factory of raw connections with the handshake done; all are dropped at the end of the test."""
    opened = []

    def open_raw(how=Raw.open, **options):
        opened.append(how(address, **options))
        return opened[-1]

    yield open_raw
    for one in opened:
        one.close()


class Bystander:
    """Another client, connected before the trouble: it must be able to go on on the same channel."""

    def __init__(self, connection, queue):
        self.connection = connection
        self.queue = queue
        self.channel = connection.channel()
        self.channel.confirm_delivery()
        self.channel.queue_declare(queue)

    def check(self):
        """Publishes with a confirm and gets the message back on the channel opened at the start."""
        body = uuid.uuid4().bytes
        self.channel.basic_publish("", self.queue, body)
        assert get_one(self.channel, self.queue).body == body
        assert self.connection.is_open


@pytest.fixture
def bystander(connect, names):
    """A client that must go on undisturbed; checked once more when the test ends."""
    client = Bystander(connect(), names.queue())
    client.check()
    yield client
    client.check()
