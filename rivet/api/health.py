"""Is this process alive, and has it what it needs?"""

from typing import Any

from apiflask import APIBlueprint

from rivet.api.desk import the_web
from rivet.api.operation import refuses
from rivet.api.problems import problem
from rivet.api.told import Alive, Ready
from rivet.domain.errors import Unavailable

health = APIBlueprint("health", __name__, tag="Health")


@health.get("/healthz")
@health.output(Alive)
@health.doc(operation_id="is_alive", summary="Does the process answer?")
def alive() -> Any:
    return {"status": "ok"}


@health.get("/readyz")
@refuses(Unavailable)
@health.output(Ready)
@health.doc(
    operation_id="is_ready",
    summary="Are PostgreSQL, Redis and a control part there?",
)
def ready() -> Any:
    failing = the_web().failing()
    if failing:
        told = "; ".join(f"{name}: {why}" for name, why in failing.items())
        return problem(503, "unavailable", told, extra={"failing": failing})
    return {"status": "ready"}
