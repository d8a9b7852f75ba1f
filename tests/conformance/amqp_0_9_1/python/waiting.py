"""Waiting for a condition with a deadline, never for a time."""

import time

DEADLINE = 15.0


def until(condition, what="the condition", deadline=DEADLINE, pause=0.01):
    """Calls `condition` until it returns something true, and returns that; fails at the deadline."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come true within {deadline} s"
        time.sleep(pause)


def pump_until(connection, condition, what="the condition", deadline=DEADLINE):
    """As `until`, while serving a pika BlockingConnection's callbacks."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come true within {deadline} s"
        connection.process_data_events(time_limit=0.02)
