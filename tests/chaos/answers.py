"""The person whom an approval asks: answers after a while, and again until it was heard."""

import time

from rivet.client import ApiProblem, ApiUnreachable

from ..system.rivet_home import RivetHome
from .shapes import StageShape

LOOK_S = 0.2


def answer(home: RivetHome, run_id: str, stage: StageShape, after_s: float, deadline: float) -> None:
    """Wait until the stage asks, and `after_s` more; one that is to expire gets no answer.

    Ends when the stage waits no more, or at the `deadline` of the monotonic clock.
    """
    while time.monotonic() < deadline:
        try:
            run = home.run(run_id)
            told = next(each for each in run["stages"] if each["key"] == stage.key)
            if run["ended_at"] is not None or told["status"] not in ("pending", "waiting"):
                return
            if told["status"] == "waiting" and stage.answer != "expire":
                time.sleep(after_s)
                home.client.call("POST", f"/runs/{run_id}/stages/{stage.key}/{stage.answer}", {})
                return
        except (ApiUnreachable, ApiProblem):
            pass  # whoever answers may be what was killed
        time.sleep(LOOK_S)
