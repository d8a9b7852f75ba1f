"""The first program of a new user, run as they would run it."""

import pathlib
import subprocess
import sys

import pytest

LINES = "1 GOOG 616.47\n2 RHT 42.46\n3 VMW 78.25\n4 CSCO 23.29\n5 IBM 141.43\n"


def run(address, *arguments):
    program = pathlib.Path(__file__).with_name("stock_lines.py")
    done = subprocess.run(
        [sys.executable, program, *arguments],
        env={"AMQP_URL": address.url},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout", "headers"])
def test_five_stock_lines(address, kind):
    assert run(address, kind) == (LINES, "", 0)


@pytest.mark.parametrize("arguments", [(), ("sideways",)])
def test_what_is_missing_is_said(address, arguments):
    assert run(address, *arguments) == ("", "usage: python stock_lines.py direct|topic|fanout|headers\n", 2)
