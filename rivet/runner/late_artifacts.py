"""The artifacts of a stage that was stopped: what it declared to be kept in any case is still uploaded."""

from rivet.domain.kept_rules import KeptArtifacts
from rivet.domain.order import Order, OrderedStage
from rivet.domain.states import AttemptStatus
from rivet.modules.contract import CallError
from rivet.runner.artifacts import StageArtifacts
from rivet.runner.bench import OwnBench
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.travel import Say

GRACE_S = 10.0


def upload_late(
    order: Order,
    stage: OrderedStage,
    number: int,
    desk: Desk,
    folder: JobFolder,
    artifacts: KeptArtifacts | None,
    ended: AttemptStatus | None,
    say: Say,
) -> None:
    """Upload them if the attempt timed out or was cancelled and they are wanted even so; 10 s at most.

    A timeout is a failure as well; a cancellation is not. What goes wrong is a warning. The stage's own room
    must be closed: this opens one of the runner's own.
    """
    stopped = ended in (AttemptStatus.TIMED_OUT, AttemptStatus.CANCELLED)
    if artifacts is None or not stopped:
        return
    if artifacts.when != "always" and not (artifacts.when == "failure" and ended is AttemptStatus.TIMED_OUT):
        return
    try:
        with OwnBench(order, stage.key, desk, folder, say, most_s=GRACE_S, heeds_cancel=False) as bench:
            kept = StageArtifacts(order, stage.key, number, desk.client, bench, bench.go_on)
            kept.upload(artifacts.name or stage.key, artifacts.paths)
    except CallError as error:
        say("warn", str(error))
