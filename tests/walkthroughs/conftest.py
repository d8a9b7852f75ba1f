"""Fixtures: brokers that can be restarted, and a program run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from node import PATIENCE, Node


@pytest.fixture
def node(tmp_path):
    """A broker with the defaults."""
    node = Node(tmp_path / "node")
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def run(node):
    """Runs a program of a walkthrough to its end against the broker; the lines that it printed."""

    def run_program(path):
        url = f"amqp://guest:guest@127.0.0.1:{node.port}/%2f"
        program = [sys.executable, str(Path(__file__).parent / path)]
        ended = subprocess.run(
            program, env={**os.environ, "AMQP_URL": url}, capture_output=True, text=True, timeout=PATIENCE
        )
        assert ended.returncode == 0, f"{path} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout.splitlines()

    return run_program
