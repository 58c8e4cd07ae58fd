"""Which stages are likely to need a room: those that needed one before, as far as this slot remembers.

A room takes about as long to open as a script to load, and the two can be done at once. Who is expected to
need one and does not has cost a few milliseconds; who has never needed one costs nothing.
"""

from collections import OrderedDict

from rivet.domain.order import Order, OrderedStage

MOST = 1024


class ExpectedRooms:
    """By the digest of the definition and the stage's key: a stage that was changed is another one."""

    def __init__(self) -> None:
        self._needed: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, order: Order, stage: OrderedStage) -> None:
        """This stage needs one."""
        known = (order.digest, stage.key)
        self._needed[known] = None
        self._needed.move_to_end(known)
        if len(self._needed) > MOST:
            self._needed.popitem(last=False)

    def forget(self, order: Order, stage: OrderedStage) -> None:
        """It did not need the one that was begun for it."""
        self._needed.pop((order.digest, stage.key), None)

    def includes(self, order: Order, stage: OrderedStage) -> bool:
        return (order.digest, stage.key) in self._needed
