"""Where the publishes of the kill test go."""

# Exchange, key, and the queues that it must reach.
ROUTES = [
    ("kill.direct", "0", ("d0",)),
    ("kill.direct", "1", ("d1",)),
    ("kill.direct", "2", ("d2",)),
    ("kill.direct", "all", ("f0", "f1")),
    ("kill.fanout", "", ("f0", "f1")),
    ("kill.topic", "a.b", ("t0",)),
    ("kill.topic", "a.z", ("t0", "t1")),
    ("kill.topic", "y.z", ("t1",)),
    ("", "d0", ("d0",)),
]
# `d2` gives what is rejected to `dead`.
QUEUES = ("d0", "d1", "d2", "dead", "f0", "f1", "t0", "t1")
DYING, DEAD = "d2", "dead"


def queues_of(route):
    """The queues of a route, by its number."""
    return ROUTES[route][2]
