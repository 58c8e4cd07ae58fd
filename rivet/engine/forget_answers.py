"""Forget how requests with an Idempotency-Key were answered, a day after they came."""

from rivet.engine.ports import Store

KEPT_S = 24 * 3600.0


def forget_answers(*, store: Store) -> None:
    with store.begin() as tx:
        tx.answered.drop(KEPT_S)
