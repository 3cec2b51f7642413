"""How many items a process runs at once: how many end a second in, a limit out, which all chunks that run here share.

Items that wait for others, as for an answer, gain from hundreds at once; those that compute gain from none. Nobody can say beforehand
where the gain ends, as that is the others' affair, too. So it is tried: a step up, and if more items end a second, another
one; if not, a step down, and another one as long as that costs nothing. The limit so stays within a step of where the gain ends, and
finds it again when it moves.
"""

from __future__ import annotations

import time
from typing import Protocol

#: Pools that run several items of a chunk at once.
POOLS = ("gevent", "eventlet", "threads")
#: Items that a process runs at once at first, at least, and at most: pools of connections are made for so many.
BEGIN, LEAST, MOST = 128, 16, 512
#: A step is this part of the limit. A smaller one would be lost in what is measured, which varies by itself.
STEP = 4
#: Seconds after which a step is judged, if as many items as run at once have ended in them.
JUDGED_S = 0.1


class Running(Protocol):
    """A chunk's crew, as far as it matters here."""

    members: int


class Pace:
    """One process' limit, and the crews that share it: each may have the same part of it, and one member in any case."""

    def __init__(self) -> None:
        self.limit = BEGIN
        self.crews: set[Running] = set()
        #: The last step, as a part of the limit before it, and the items per second then.
        self._step, self._rate = 0.0, 0.0
        #: Ends that are measured, since then; below zero: those that come first are not.
        self._since, self._ended = 0.0, -BEGIN

    def room(self, crew: Running, asked: int | None) -> bool:
        """Whether a crew may have one member more; `asked` is how many its workflow has asked for, None: as many as pay off."""
        return not crew.members or (
            crew.members < self.share(asked)
            and sum(c.members for c in list(self.crews)) < (MOST if asked else self.limit)
        )

    def share(self, asked: int | None) -> int:
        """The members that each crew may have."""
        share = max(1, (MOST if asked else self.limit) // max(1, len(self.crews)))
        return min(asked, share) if asked else share

    def note_end(self) -> None:
        """An item has ended whose workflow has not asked for a number. Two threads at once do no harm: it is a measurement."""
        self._ended += 1
        if self._ended == 0:  # those that had begun before the step
            self._since = time.monotonic()
        elif self._ended >= self.limit and (took := time.monotonic() - self._since) >= JUDGED_S:
            # With fewer members than allowed it is not the limit that holds them back.
            if sum(c.members for c in list(self.crews)) >= self.limit * 9 // 10:
                self._judge(self._ended / took)
            else:
                self._step, self._rate = 0.0, 0.0
            self._ended = -self.limit

    def _judge(self, rate: float) -> None:
        # Half of what the step would have brought, or cost, if nothing but the limit held the items back.
        gain, enough = rate / self._rate - 1 if self._rate else 0.0, self._step / 2
        up = gain >= enough if self._step >= 0 else gain <= enough
        before, self._rate = self.limit, rate
        self.limit = max(LEAST, min(MOST, before + (before if up else -before) // STEP))
        self._step = self.limit / before - 1


#: Of this process. A forked child begins with its parent's, in which nothing runs.
pace = Pace()
