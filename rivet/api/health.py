"""Is this process alive, and has it what it needs?"""

from typing import Any

from apiflask import APIBlueprint
from flask import jsonify

from rivet.api.desk import the_web
from rivet.api.problems import problem

health = APIBlueprint("health", __name__, tag="Health")


@health.get("/healthz")
@health.doc(summary="Does the process answer?")
def alive() -> Any:
    return jsonify(status="ok")


@health.get("/readyz")
@health.doc(
    summary="Are PostgreSQL, Redis and a control part there?",
    responses={503: "What is missing, and why"},
)
def ready() -> Any:
    failing = the_web().failing()
    if failing:
        told = "; ".join(f"{name}: {why}" for name, why in failing.items())
        return problem(503, "unavailable", told, extra={"failing": failing})
    return jsonify(status="ready")
