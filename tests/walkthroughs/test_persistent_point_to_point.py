"""Walkthrough 3: durable queue, durable exchange, persistent messages; the broker is restarted between sender and
receiver, by an operator's stop and by a crash."""

import signal

import pytest
from stocks import LINES

SENDER = "persistent_point_to_point/p2p_sender_p.py"
RECEIVER = "persistent_point_to_point/p2p_receiver_p.py"
SENT = [f"Sending message: {line}" for line in LINES]
READ = [f"Reading message: {line}" for line in LINES]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_all_five_are_read_behind_a_restart(node, run, how):
    assert run(SENDER) == SENT
    node.restart(how)
    assert node.queue("topics_d")["messages"] == len(LINES) + 1
    assert run(RECEIVER) == READ
    # What was read does not come back, and what was declared is still there.
    node.restart(signal.SIGTERM)
    assert node.queue("topics_d")["messages"] == 0
    assert run(SENDER) == SENT
    assert run(RECEIVER) == READ


def test_what_was_not_read_yet_is_read_behind_both_restarts(node, run):
    assert run(SENDER) == SENT
    node.restart(signal.SIGTERM)
    node.restart(signal.SIGKILL)
    assert run(RECEIVER) == READ
