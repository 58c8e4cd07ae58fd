"""Register a runner: its name, its queues, its session."""

from dataclasses import dataclass
from uuid import UUID

from rivet.domain.errors import Conflict, Forbidden, InvalidInput, WrongProtocol
from rivet.domain.ids import SessionId
from rivet.domain.order import PROTOCOL
from rivet.domain.runner import QUEUE_NAME, RUNNER_NAME, Keeping, Runner
from rivet.domain.states import RunnerStatus
from rivet.engine.ports import Ids, Store, Token


@dataclass(frozen=True, slots=True)
class Registration:
    """`previous_session` is what the runner's own folder remembers: with it, it is the same runner again."""

    name: str
    queues: tuple[str, ...]
    slots: int
    isolation: str
    version: str
    protocol: int
    previous_session: UUID | None
    keeping: Keeping | None = None


def register_runner(
    asked: Registration, token: Token, *, store: Store, ids: Ids, lease_s: float
) -> SessionId:
    """Give the runner its session: its previous one if it still has it, else a new one.

    Raises Conflict while another session of that name lives, Forbidden for a queue that the token does not
    name, WrongProtocol, InvalidInput.
    """
    _check(asked, token)
    with store.begin() as tx:
        known = tx.runners.lock(asked.name)
        same = known is not None and known.session == asked.previous_session
        if known is not None and not same:
            if known.token_id != token.id and known.status is not RunnerStatus.OFFLINE:
                raise Forbidden(f'the name "{asked.name}" belongs to a runner of another token')
            silent_s = (tx.now() - known.seen_at).total_seconds()
            if known.status in (RunnerStatus.ONLINE, RunnerStatus.DRAINING) and silent_s < lease_s:
                raise Conflict(
                    f'another runner named "{asked.name}" was heard of {silent_s:.0f} s ago; '
                    "give this one another name (RIVET_RUNNER_NAME), or stop that one and wait"
                )
        session = known.session if known is not None and same else SessionId(ids.uuid())
        tx.runners.put(
            Runner(
                name=asked.name,
                session=session,
                token_id=token.id,
                status=RunnerStatus.ONLINE,
                queues=asked.queues,
                slots=asked.slots,
                free_slots=asked.slots,
                own_queue=0,
                holds=(),
                isolation=asked.isolation,
                version=asked.version,
                protocol=asked.protocol,
                registered_at=tx.now(),
                seen_at=tx.now(),
            )
        )
        tx.runners.beat(session, asked.slots, 0, (), asked.keeping)
    return session


def _check(asked: Registration, token: Token) -> None:
    if asked.protocol != PROTOCOL:
        raise WrongProtocol(
            f"the runner speaks protocol {asked.protocol}, this server {PROTOCOL}; install matching versions",
            theirs=asked.protocol,
            ours=PROTOCOL,
        )
    if not RUNNER_NAME.fullmatch(asked.name):
        raise InvalidInput(f'name: "{asked.name}" is no runner name: letters, digits, ".", "_" and "-"')
    if not asked.queues or not 1 <= asked.slots <= 256:
        raise InvalidInput("queues and slots: a runner serves at least one queue with 1 to 256 slots")
    for queue in asked.queues:
        if not QUEUE_NAME.fullmatch(queue):
            raise InvalidInput(f'queues: "{queue}" is no queue name: letters, digits, ".", "_", "-"')
    strange = sorted(set(asked.queues) - set(token.queues))
    if strange:
        raise Forbidden(
            f"the token serves the queues {', '.join(token.queues)}, not {', '.join(strange)}; "
            "make one that does with `rivet runner token --queue`"
        )
