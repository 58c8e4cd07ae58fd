"""Which of the things that projects keep are too much: counted from the newest on, project by project."""

from collections import defaultdict
from collections.abc import Iterable

from rivet.domain.ids import ProjectId
from rivet.engine.retention_ports import Held


class RoomOfProjects:
    """`most_bytes` is of each project. All that it holds is to be shown, the newest first, in pages."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._taken: defaultdict[ProjectId, int] = defaultdict(int)

    def has_no_room_for(self, page: Iterable[Held]) -> list[Held]:
        """Those with which their project has more than it may, by what was shown before."""
        return [held for held in page if self._with(held) > self._most_bytes]

    def _with(self, held: Held) -> int:
        self._taken[held.project] += held.size
        return self._taken[held.project]
