"""A limit that a venue counts over the last so many seconds, whenever one looks: rolling, by endpoint or for all."""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import inf

import msgspec

MARGIN_S = 0.005
"""Two clocks that count milliseconds round apart."""


START_S = 1.0
"""A process takes longer than this to start: what an earlier run spent of a window no longer has ended by then."""
AFTER_START_SHARE = 0.5
"""What may be spent of a longer window until it has passed once: nobody has written down what an earlier run spent."""


class RollingLimit(msgspec.Struct, frozen=True):
    """`limit` requests in any `length_s` real seconds to `endpoints` together; to all of them where none is named."""

    name: str
    length_s: float
    limit: int
    endpoints: frozenset[str] = frozenset()


class RollingHeaders(msgspec.Struct, frozen=True):
    """Which headers of an answer tell the limit of its endpoint, what is left of it, and when (ms of venue time) an
    endpoint that refused takes requests again."""

    limit: str
    left: str
    resets_ms: str


class Told(msgspec.Struct, frozen=True):
    """What one answer told of its endpoint's limit, where it did; `is_refusal`: this request was one too many."""

    limit: int | None = None
    left: int | None = None
    reopens_at: float | None = None
    is_refusal: bool = False


class RollingWindow:
    """What was spent of one limit, in monotonic time.

    The venue counts when a request arrives, which is not known: after its grant, and before its answer. So one counts
    here until its answer and a length more, and without an answer as long as if it had travelled `travel_s`.
    """

    def __init__(self, plan: RollingLimit, travel_s: float, began: float = -inf) -> None:
        """`began`: when this run did, monotonic."""
        self.plan = plan
        self.limit = plan.limit
        self.closed_until = -inf
        self._travel_s = travel_s
        self._whole_at = began + plan.length_s if plan.length_s > START_S else -inf
        self._ends: list[float] = []  # ascending: when each request counts no more; those just ended are among them
        self._unanswered: deque[float] = deque()  # ascending: the same, of those whose answer has not come

    def costs(self, endpoint: str) -> int:
        """One for each request that the limit counts."""
        return int(not self.plan.endpoints or endpoint in self.plan.endpoints)

    def used(self, now: float) -> int:
        """How many requests the venue may count now."""
        return len(self._ends) - bisect_right(self._ends, now)

    def lacks(self, cost: int, aside: float, share: float, now: float) -> bool:
        """Whether `cost` does not fit in that share beside what is set aside; a limit of one lets one out."""
        most = self.limit * share * (AFTER_START_SHARE if now < self._whole_at else 1.0)
        return self.closed_until > now or self.used(now) + aside + cost > max(1.0, most)

    def spend(self, now: float) -> None:
        """Count one that is let out now."""
        del self._ends[: bisect_right(self._ends, now - self.plan.length_s)]
        ends_at = now + self._travel_s + self.plan.length_s + MARGIN_S
        insort(self._ends, ends_at)
        self._unanswered.append(ends_at)

    def answered(self, now: float) -> None:
        """One has surely arrived. Which of them does not matter: the oldest is taken, so that the others count longer
        rather than shorter."""
        while self._unanswered and self._unanswered[0] <= now:
            self._unanswered.popleft()
        ends_at = now + self.plan.length_s + MARGIN_S
        if self._unanswered and self._unanswered[0] > ends_at:
            del self._ends[bisect_left(self._ends, self._unanswered.popleft())]
            insort(self._ends, ends_at)

    def learn(self, told: Told, now: float, sent_at: float) -> None:
        """Take the venue's own limit, and its count where it is higher: other processes of the account spend it too.

        What an answer counted that was longer on its way than the window is has ended since.
        """
        length_s = self.plan.length_s
        if told.limit:
            self.limit = told.limit
        if told.is_refusal:
            reopens_at = now + length_s if told.reopens_at is None else told.reopens_at
            self.closed_until = max(self.closed_until, min(reopens_at, now + 2 * length_s))
        if told.left is not None and now - sent_at < length_s:
            counted = len(self._ends) - bisect_right(self._ends, sent_at)
            for _ in range(min(self.limit, self.limit - told.left) - counted):
                insort(self._ends, now + length_s)

    def changes_at(self, now: float) -> float:
        """When the next request counts no more, or more may be spent again; infinity for never."""
        if self.closed_until > now:
            return self.closed_until
        index = bisect_right(self._ends, now)
        ends_at = self._ends[index] if index < len(self._ends) else inf
        return min(ends_at, self._whole_at) if now < self._whole_at else ends_at
