"""SIGKILL at random moments while clients publish, consume, declare, delete and commit: what was promised holds.

The lives are killed once for all cases of this file; each case looks at one kind of fault. FAIRLEAD_KILLS says how
many (default 200), FAIRLEAD_KILL_SEED repeats a run's choices; what the machine does meanwhile differs each time.
This proves recovery. The page cache outlives the process: the sync itself is proven by the order of system calls.
"""

import os
import random
import time
from collections import Counter, defaultdict

import pytest
from accounts import Accounts
from ledger import Ledger, parse
from load import Consumer, Declarer, Publisher, Shared, Transactor, declare_all
from node import Node
from routes import QUEUES
from waiting import until

KILLS = int(os.environ.get("FAIRLEAD_KILLS", "200"))
SEED = int(os.environ.get("FAIRLEAD_KILL_SEED") or random.SystemRandom().randrange(1 << 32))
# A life, from the first client that can come in to the kill, in seconds.
LIFE = (0.02, 0.35)
# Some are killed so soon after their start that they are still reading the journal.
IN_RECOVERY, RECOVERY = 0.1, 0.03
# Of each kind of fault, so many are told.
TOLD = 10
KINDS = [
    "lost",
    "came back",
    "phantom",
    "order",
    "unflagged",
    "twice",
    "refused",
    "declaration",
    "transaction",
]
pytestmark = pytest.mark.timeout(120 + KILLS * 3)


def static(node):
    """What was declared before the first kill, as it is now."""
    names = [one["name"] for what in ("queues", "exchanges") for one in node.ask(f"/api/{what}")]
    names += [
        f"{one['source']} -> {one['destination']} by {one['routing_key']}" for one in node.ask("/api/bindings")
    ]
    return sorted(name for name in names if not name.startswith(("declared.", "barrier.")))


class Run:
    """All lives, and what came of them."""

    def __init__(self, folder):
        self.rng = random.Random(SEED)
        self.node = Node(folder)
        self.shared = Shared()
        self.own = Ledger()
        self.clients = [
            Publisher(self.shared, SEED + 1, "p"),
            Publisher(self.shared, SEED + 2, "q"),
            Consumer(self.shared, SEED + 3, ("d0", "d1", "d2", "dead")),
            Consumer(self.shared, SEED + 4, ("f0", "f1", "t0", "t1")),
            Declarer(self.shared, SEED + 5),
            Transactor(self.shared, SEED + 6),
        ]

    def run(self):
        began = time.monotonic()
        self.node.start()
        declare_all(self.node.channel())
        self.wanted = static(self.node)
        for client in self.clients:
            client.start()
        self.starts = []
        for kill in range(KILLS):
            self.life(last=kill == KILLS - 1)
        self.took = time.monotonic() - began
        ledgers = [self.ledger_of(client) for client in self.clients]
        left = self.drain()
        publishers, consumers = ledgers[:2], ledgers[2:4]
        accounts = Accounts(publishers, consumers, left)
        self.faults, self.notes = defaultdict(list), Counter()
        for ledger in (*ledgers, accounts.ledger, self.own):
            for kind, texts in ledger.faults.items():
                self.faults[kind] += texts
            self.notes += ledger.notes
        self.summary = self.summarize(*ledgers, left)
        return self

    def life(self, last):
        """The clients work until the kill; then the next life is begun, and what must be there is."""
        self.own.lives += 1
        self.shared.announce(self.node)
        time.sleep(self.rng.uniform(*LIFE))
        self.shared.stop.value = last
        self.shared.withdraw()
        self.node.kill()
        while not last and self.rng.random() < IN_RECOVERY:
            self.node.spawn()
            time.sleep(self.rng.uniform(0, RECOVERY))
            self.node.kill()
        began = time.monotonic()
        self.node.start()
        self.starts.append(time.monotonic() - began)
        found = static(self.node)
        if found != self.wanted:
            self.own.fault("declaration", f"found {found}, expected {self.wanted}")

    @staticmethod
    def ledger_of(client):
        """What a client has kept; it has lost its connection, and the test is over."""
        until(lambda: client.receiver.poll(0.1) or not client.is_alive(), f"the ledger of {client.name}", 60)
        assert client.receiver.poll(), f"{client.name} ended with {client.exitcode} and without a ledger"
        ledger = client.receiver.recv()
        client.join(10)
        return ledger

    def drain(self):
        """What the queues hold, in order."""
        left = {}
        for queue in QUEUES:
            channel, left[queue] = self.node.channel(), []
            while (got := channel.basic_get(queue, auto_ack=True))[0]:
                message = parse(got[2])
                if message is None:
                    self.own.fault("phantom", f"{queue} holds {len(got[2])} bytes that nobody published")
                else:
                    left[queue].append(message)
        return left

    def summarize(self, p, q, first, second, declarer, transactor, left):
        records = sorted(self.starts)
        return (
            f"seed {SEED}: {KILLS} kills in {self.took:.1f} s; starts {records[len(records) // 2] * 1000:.0f} ms in the "
            f"median, {records[-1] * 1000:.0f} ms at most; published {len(p.routes) + len(q.routes)}, "
            f"confirmed {sum(p.confirmed) + sum(q.confirmed)}; "
            f"delivered {first.deliveries + second.deliveries}, of them flagged {first.redeliveries + second.redeliveries}, "
            f"surely settled {sum(len(one) for ledger in (first, second) for one in ledger.surely_settled.values())}, "
            f"left {sum(map(len, left.values()))}; declared {declarer.number}, checked {declarer.checks} times; "
            f"committed {transactor.commits}, unknown {transactor.unknown}, checked {transactor.checks} times; "
            f"notes {dict(self.notes)}; faults {({kind: len(texts) for kind, texts in self.faults.items()})}"
        )

    def close(self):
        self.shared.stop.value = True
        for client in self.clients:
            if client.is_alive():
                client.terminate()
                client.join(10)
        self.node.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("kill") / "node")
    print(f"seed {SEED}")
    try:
        yield run.run()
    finally:
        run.close()


def test_the_clients_have_worked(run, capsys):
    with capsys.disabled():
        print(f"\n{run.summary}")
    assert f"seed {SEED}" in run.summary and run.own.lives == KILLS
    for client in ("published", "confirmed", "delivered", "declared", "committed"):
        assert f"{client} 0" not in run.summary, run.summary


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_fault(run, kind):
    faults = run.faults[kind]
    assert not faults, "\n".join([f"{len(faults)} of {kind!r}, seed {SEED}:", *faults[:TOLD]])


def test_every_kind_of_fault_has_a_case(run):
    assert set(run.faults) <= set(KINDS)
