"""Fixtures: brokers that can be restarted, and both ways to restart them."""

import signal

import pytest

pytest.register_assert_rewrite("steps", "topology", "ledger", "trace")

from node import Node  # noqa: E402 - after the rewrite is registered


@pytest.fixture
def make_node(tmp_path, request):
    """A factory of brokers that are not started yet; they end with the test, and a failed one shows its log."""
    made = []

    def make(configuration=None, wrapper=()):
        made.append(Node(tmp_path / f"node-{len(made)}", configuration, wrapper))
        return made[-1]

    yield make
    for node in made:
        if node.lives and getattr(request.node, "failed", False):
            print(f"the log of the broker's life {node.lives}:\n{node.log()}")
        node.close()


@pytest.fixture
def node(make_node):
    """A broker with the defaults."""
    return make_node().start()


@pytest.fixture
def queue(node):
    """A durable queue."""
    node.channel().queue_declare("queue", durable=True)
    return "queue"


@pytest.fixture(params=[signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def how(request):
    """How the broker ends."""
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Tells the fixtures whether the test has failed."""
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed
