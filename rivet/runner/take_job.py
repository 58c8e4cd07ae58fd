"""Take a job: claim it, lay out its folder, and publish its chain to this runner's own queue."""

import logging
import time

from rivet.client import ApiProblem, ApiUnreachable
from rivet.domain.artifact import Contents
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.order import PROTOCOL, Order
from rivet.domain.states import FINISHED_STAGE, StageStatus
from rivet.modules.contract import CallError
from rivet.runner.desk import Desk, PublishChain
from rivet.runner.folder import Busy, JobFolder, now_s, remove_tree
from rivet.runner.found import FoundWorkspaces
from rivet.runner.room import prepare_workspace
from rivet.runner.travel import lay_out
from rivet.runner.workspaces import WorkspaceLost, Workspaces

_log = logging.getLogger(__name__)

RETRY_S = (0.2, 0.5, 1.0, 2.0)
_LEFT_SOMETHING = (StageStatus.PASSED, StageStatus.WARNED)


def take_job(job: JobId, epoch: Epoch, desk: Desk) -> bool:
    """False where the job is not this runner's to do. Waits for as long as the API is away."""
    claimed = _claimed(job, epoch, desk)
    if claimed is None:
        return False
    order, asked_at = claimed
    folder = desk.folder(job)
    if not _laid_out(order, folder, desk):
        return False
    folder.note_lease(epoch, asked_at)
    folder.note_busy()
    try:
        publish_rest(order, folder, desk.publish_chain)
    finally:
        folder.note_idle()
    return True


def publish_rest(order: Order, folder: JobFolder, publish_chain: PublishChain) -> None:
    """Publish what of the job's chain has not ended here; links that ran already answer from their marks."""
    stages = [
        (stage.key, stage.name)
        for stage in order.stages
        if StageStatus(stage.status) not in FINISHED_STAGE
    ]
    ended = {mark["stage"] for mark in folder.marks(order.epoch) if mark["mark"] == "end"}
    rest = [stage for stage in stages if stage[0] not in ended] or stages[-1:]
    if rest:
        publish_chain(order.job, order.epoch, rest, f"{order.pipeline}#{order.number}")


def _lay_out_workspace(order: Order, folder: JobFolder, desk: Desk, *, was_there: bool) -> None:
    """As the first stage that has not ended found it; else what the job starts from, or an empty one.

    `was_there`: the folder may have something of an earlier epoch in it.
    """
    first = next((stage for stage in order.stages if StageStatus(stage.status) not in FINISHED_STAGE), None)
    found = FoundWorkspaces(folder.path)
    known = was_there and first is not None and _brought_back(first.key, found, folder, desk)
    begins_with = None if order.start is None else order.start.found_by
    left_something = any(StageStatus(stage.status) in _LEFT_SOMETHING for stage in order.stages)
    begins_anew = not left_something or (first is not None and begins_with == first.key)
    if was_there and not known and begins_anew:
        remove_tree(folder.workspace)
        remove_tree(folder.home)
        found.forget_all()
    is_new = not folder.workspace.exists()
    stored: list[Contents] = []
    workspaces = Workspaces(desk.jobs)
    if is_new and order.start is not None and not order.start.is_empty:
        try:
            workspaces.start(folder, order.start, desk.uids.of)
        except WorkspaceLost as lost:
            if order.start.stored is None:
                folder.note_trouble(str(lost))
            else:
                stored = [order.start.stored]
    for place in (folder.workspace, folder.home):
        if not place.exists():
            prepare_workspace(place, desk.uids.of(folder.path))
    if is_new and first is not None and (stored or order.folder or order.brings):
        try:
            if stored and order.start is not None and order.start.is_shared:
                lay_out(order, first.key, stored, desk, folder, folder.note_said)
                workspaces.keep_fetched(folder, order.start)
                stored = []
            lay_out(order, first.key, [*stored, *order.brings], desk, folder, folder.note_said)
        except CallError as error:
            folder.note_trouble(str(error))


def _brought_back(stage: StageKey, found: FoundWorkspaces, folder: JobFolder, desk: Desk) -> bool:
    """Whether the workspace is as the stage found it: it was begun here, and is to be begun again."""
    try:
        return found.bring_back(stage, folder.workspace, desk.uids.of(folder.path))
    except OSError as error:
        _log.warning("how stage %s found its workspace cannot be brought back: %s", stage, error)
        return False


def _claimed(job: JobId, epoch: Epoch, desk: Desk) -> tuple[Order, float] | None:
    """The order, and when it was asked for."""
    body = {"session": str(desk.session), "epoch": epoch, "protocol": PROTOCOL}
    tries = 0
    while True:
        asked_at = now_s()
        try:
            return Order.read(desk.client.call("POST", f"/runner/jobs/{job}/claim", body)), asked_at
        except ApiProblem as problem:
            if problem.status < 500 and problem.status != 429:
                _log.info("job %s in epoch %s is not for this runner: %s", job, epoch, problem.detail)
                return None
            wait = problem.detail
        except ApiUnreachable as error:
            wait = str(error)
        if tries == 0:
            _log.warning("job %s waits for the API: %s", job, wait)
        time.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
        tries += 1


def _laid_out(order: Order, folder: JobFolder, desk: Desk) -> bool:
    """The folder with the order, and the workspace that its next stage starts from."""
    was_there = _made(folder)
    try:
        with folder.hold():
            if folder.is_outdated(order.epoch):
                return False
            if folder.order(order.epoch) is None:
                _lay_out_workspace(order, folder, desk, was_there=was_there)
            folder.write_order(order)
    except Busy:
        # Somebody works on it already: the chain is out, and publishing it again would be harmless.
        return True
    return True


def _made(folder: JobFolder) -> bool:
    """Have the folder; whether it was there before."""
    try:
        folder.path.mkdir(mode=0o711, parents=True)
    except FileExistsError:
        return True
    return False
