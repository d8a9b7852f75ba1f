"""The ledgers of all clients of the kill test brought together, with what each queue holds at the end."""

from collections import Counter, defaultdict

from ledger import Ledger
from routes import DEAD, DYING, queues_of


class Accounts:
    """What contradicts itself over all clients; `left` is what each queue held at the end, in order."""

    def __init__(self, publishers, consumers, left):
        self.ledger = Ledger()
        self.publishers, self.left = publishers, left
        self.seen, self.acknowledged, self.settled = (defaultdict(set) for _ in range(3))
        self.rejections = Counter()
        for consumer in consumers:
            self.rejections += consumer.rejections
            for all_of, mine in (
                (self.seen, consumer.seen),
                (self.acknowledged, consumer.maybe_acknowledged),
                (self.settled, consumer.surely_settled),
            ):
                for queue, messages in mine.items():
                    all_of[queue] |= messages
        self.remaining = {queue: Counter(messages) for queue, messages in left.items()}
        for publisher in publishers:
            self.check_publishes(publisher)
        for queue in left:
            self.check_remaining(queue)

    def arrived(self, queue, message):
        """It has been in that queue."""
        return message in self.seen[queue] or message in self.remaining[queue]

    def accounted(self, queue, message):
        """It is in that queue, or was settled, or died there and is among the dead letters."""
        if message in self.remaining[queue] or message in self.acknowledged[queue]:
            return True
        return queue == DYING and self.rejections[message] > 0 and self.arrived(DEAD, message)

    def check_publishes(self, publisher):
        """What was confirmed is accounted for in all its queues."""
        for number, (route, confirmed) in enumerate(zip(publisher.routes, publisher.confirmed)):
            message, queues = (publisher.name, number, route), queues_of(route)
            missing = [queue for queue in queues if not self.accounted(queue, message)]
            if confirmed and missing:
                self.ledger.fault("lost", f"{message} was confirmed, and {missing} of {queues} have lost it")
            arrived = [queue for queue in queues if self.arrived(queue, message)]
            # Until the confirm nothing is promised of any queue.
            self.ledger.notes["unconfirmed and in some of its queues only"] += 0 < len(arrived) < len(queues)

    def check_remaining(self, queue):
        """Nothing is in a queue that should not be, and what is there is in order."""
        newest = {}
        for message in self.left[queue]:
            publisher, number, _ = message
            if queue != DEAD and number < newest.get(publisher, -1):
                self.ledger.fault("order", f"{queue} holds {message} behind {newest[publisher]}")
            newest[publisher] = number
        for message, count in self.remaining[queue].items():
            if queue == DEAD and self.rejections[message] > 1:
                # See the notes: it may well have died twice.
                continue
            if count > 1:
                self.ledger.fault("twice", f"{message} is {count} times in {queue}")
            if message in self.settled[queue]:
                self.ledger.fault("came back", f"{message} is in {queue}, and was settled for sure")
        routes = {publisher.name: publisher.routes for publisher in self.publishers}
        for message in self.seen[queue] | set(self.remaining[queue]):
            publisher, number, route = message
            sent = routes.get(publisher, [])
            came_by = DYING if queue == DEAD else queue
            if number >= len(sent) or sent[number] != route or came_by not in queues_of(route):
                self.ledger.fault("phantom", f"{message} was in {queue}, and nobody published it there")
