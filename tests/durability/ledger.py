"""What the clients of the kill test know: what they sent, what they were told, and what contradicts it.

A body says who published it, its number and its route, and the rest follows from these: whoever gets it can tell
whether every byte is right. A fault is a kind and a sentence; kinds are what the test's cases are about. A note is
counted only: what may happen, and is good to know.
"""

from collections import Counter, defaultdict
from contextlib import contextmanager

from routes import DEAD, DYING

SIZES = (12, 40, 200, 1000, 5000)
LARGE, HUGE = 100_000, (3 << 20) // 2


def size_of(number):
    """The length of a body: a few are longer than what one record holds."""
    if number % 4999 == 500:
        return HUGE
    return LARGE if number % 499 == 50 else SIZES[number * 7 % len(SIZES)]


def body_of(publisher, number, route):
    start = b"%s:%d:%d;" % (publisher.encode(), number, route)
    size = max(size_of(number), len(start))
    return (start * (size // len(start) + 1))[:size]


def parse(body):
    """Publisher, number and route, or None if it is no body of ours or has been changed."""
    try:
        publisher, number, route = bytes(body).split(b";", 1)[0].decode().split(":")
        number, route = int(number), int(route)
    except ValueError:
        return None
    return (publisher, number, route) if body_of(publisher, number, route) == body else None


class Ledger:
    """Faults that a client has seen, and notes."""

    def __init__(self):
        self.lives = 0
        self.faults = defaultdict(list)
        self.notes = Counter()

    def fault(self, kind, text):
        self.faults[kind].append(f"life {self.lives}: {text}")


class Published(Ledger):
    """By number: the route, and whether it was confirmed."""

    def __init__(self, name):
        super().__init__()
        self.name, self.routes, self.confirmed = name, [], []

    def sent(self, route):
        self.routes.append(route)
        self.confirmed.append(False)
        return len(self.routes) - 1

    def answered(self, number, accepted):
        if accepted:
            self.confirmed[number] = True
        else:
            self.fault("refused", f"{self.name}:{number} was refused, and no queue has a limit")


class Consumed(Ledger):
    """By queue: what was seen and what was settled."""

    def __init__(self):
        super().__init__()
        self.seen = defaultdict(set)
        self.maybe_acknowledged = defaultdict(set)
        self.rejections = Counter()
        self.surely_settled = defaultdict(set)
        self.newest = {}
        self.deliveries = self.redeliveries = 0

    def delivered(self, queue, body, redelivered):
        message = parse(body)
        if message is None:
            self.fault("phantom", f"{queue}: {len(body)} bytes that nobody published: {bytes(body[:60])!r}")
            return (queue, None)
        self.deliveries += 1
        self.redeliveries += redelivered
        publisher, number, _ = message
        name = f"{publisher}:{number} of {queue}"
        if queue == DYING and message in self.seen[DEAD]:
            # The dead letters hold it before its own queue drops it: a crash between leaves it in both.
            self.notes["dead-lettered and still in its queue"] += 1
        # Rejected again after that, it is among the dead letters again.
        again = queue == DEAD and self.rejections[message] > 1
        if message in self.surely_settled[queue] and not again:
            self.fault("came back", f"{name} was settled, and the journal had come further")
        if message in self.seen[queue]:
            if not redelivered and not again:
                self.fault("unflagged", f"{name} was delivered before, and the flag does not say so")
        else:
            newest = self.newest.get((queue, publisher), -1)
            # Dead letters come in the order in which they died.
            if number < newest and queue != DEAD:
                self.fault("order", f"{name} came first after {newest} had come")
            self.newest[queue, publisher] = max(newest, number)
            self.seen[queue].add(message)
        return (queue, message)

    def settling(self, keys, rejected):
        for queue, message in keys:
            if rejected:
                self.rejections[message] += 1
            else:
                self.maybe_acknowledged[queue].add(message)

    def settled(self, keys):
        for queue, message in keys:
            self.surely_settled[queue].add(message)


class Declared(Ledger):
    """By kind and name: True is there, False is not, None is not known."""

    KINDS = ("queue", "exchange", "binding", "message")

    def __init__(self):
        super().__init__()
        self.state = {kind: {} for kind in self.KINDS}
        self.arguments, self.names, self.number, self.checks = {}, [], 0, 0

    def next_name(self):
        self.number += 1
        self.names.append(f"declared.{self.number}")
        return self.names[-1]

    def count(self):
        return len(self.names)

    def oldest(self):
        return self.names[0]

    def forget(self, name):
        self.names.remove(name)

    @contextmanager
    def doing(self, kind, name, arguments=None):
        self.state[kind][name] = None
        self.arguments.setdefault(name, arguments or {})
        if arguments:
            self.arguments[name] = arguments
        yield
        self.state[kind][name] = True

    @contextmanager
    def undoing(self, name, *kinds):
        there = [kind for kind in kinds if self.state[kind].get(name) is not False]
        for kind in there:
            self.state[kind][name] = None
        yield
        for kind in there:
            self.state[kind][name] = False

    def check(self, queues, exchanges, bindings):
        """Compares with what the broker says, and takes that where nothing was known."""
        self.checks += 1
        mine = {queue["name"]: queue for queue in queues if queue["name"].startswith("declared.")}
        found = {
            "queue": set(mine),
            "exchange": {one["name"] for one in exchanges if one["name"].startswith("declared.")},
            "binding": {one["destination"] for one in bindings if one["source"].startswith("declared.")},
            "message": {name for name, queue in mine.items() if queue["messages"] == 1},
        }
        for kind, names in found.items():
            known = self.state[kind]
            for name in names - set(known):
                self.fault("phantom", f"{kind} {name} was never declared")
            for name, wanted in known.items():
                if wanted is not None and wanted != (name in names):
                    words = "was confirmed and is not there" if wanted else "was deleted and is there again"
                    self.fault("declaration", f"{kind} {name} {words}")
                known[name] = name in names
        for name, queue in mine.items():
            if queue["arguments"] != self.arguments[name]:
                self.fault("declaration", f"queue {name} has {queue['arguments']}, declared {self.arguments[name]}")
            if queue["messages"] > 1:
                self.fault("phantom", f"queue {name} has {queue['messages']} messages, and one was published")


class Transacted(Ledger):
    """How far the chain has come."""

    def __init__(self):
        super().__init__()
        self.last = self.attempt = 0
        self.out = self.maybe_out = 0
        self.commits = self.unknown = self.checks = 0

    def next(self):
        return self.last + 1

    def committing(self, number):
        self.attempt = number

    def committed(self, number):
        self.last = number
        self.commits += 1

    def check(self, source, found):
        """What the four queues hold, against what is known of the last transactions."""
        self.checks += 1
        self.unknown += self.attempt != self.last
        if len(source) != 1 or source[0] not in (self.last, self.attempt):
            self.fault("transaction", f"tx.source holds {source}, expected {self.last} or {self.attempt}")
        self.last = source[-1] if source else self.last
        self.attempt = self.last
        wanted = [list(range(out + 1, self.last + 1)) for out in {self.out, self.maybe_out}]
        for queue, numbers in found.items():
            if numbers not in wanted:
                self.fault("transaction", f"{queue} holds {numbers}, expected one of {wanted}")
        if len({tuple(numbers) for numbers in found.values()}) != 1:
            self.fault("transaction", f"not the same in all queues: {found}")

    def draining(self):
        self.maybe_out = self.last

    def drained(self):
        self.out = self.maybe_out
