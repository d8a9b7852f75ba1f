"""A broker under strace, and what strace has seen of it."""

import pytest

pytest.register_assert_rewrite("steps", "trace")

from node import Node  # noqa: E402 - after the rewrite is registered
from raw import Raw  # noqa: E402
from trace import Trace, command  # noqa: E402
from waiting import until  # noqa: E402


class TracedNode(Node):
    """A broker whose system calls are written down."""

    def __init__(self, folder):
        super().__init__(folder, wrapper=command(folder / "trace"))
        self.raws = []

    def raw(self):
        """A connection that sends what it is told when it is told, with a channel."""
        address = type("Address", (), dict(host="127.0.0.1", port=self.port, user="guest", password="guest", vhost="/"))
        raw = Raw.open(address)
        self.raws.append(raw)
        raw.open_channel(1)
        return raw

    def traced(self):
        """Ends the broker and reads what it did."""
        for raw in self.raws:
            raw.close()
        last = f"{self.process.pid} "
        self.terminate()

        def lines():
            text = (self.folder / "trace").read_text()
            end = text.rstrip("\n").rsplit("\n", 1)[-1]
            return text.splitlines() if end.startswith(last) and "+++ exited with 0 +++" in end else None

        return Trace(until(lines, "the end of the trace"))


@pytest.fixture
def node(tmp_path):
    """A broker under strace."""
    node = TracedNode(tmp_path / "node")
    try:
        yield node.start()
    finally:
        node.close()
