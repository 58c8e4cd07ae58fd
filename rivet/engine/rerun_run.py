"""Rerun a run that has ended: a new run, in which some stages stand as they ended there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.ids import RunId
from rivet.domain.inputs import check_inputs
from rivet.domain.pipeline import Checked, Definition, plain_of
from rivet.domain.record import ControlEvent
from rivet.domain.rerun import Form
from rivet.domain.run import Plan, Run
from rivet.domain.states import Reason, RunStatus
from rivet.engine.admit_runs import admit_runs
from rivet.engine.advance_run import advance_run
from rivet.engine.draft_rerun import Draft, Ended, draft_rerun
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.left_workspaces import LeftWorkspaces
from rivet.engine.plan_pipeline import Planned, plan_pipeline, recorded
from rivet.engine.ports import Evaluator, Ids, Store, Tx, Version
from rivet.engine.rerun_sources import FILES, FOLDER, Source, sources_of
from rivet.engine.save_pipeline import evaluate
from rivet.engine.start_run import DEFINED_AS, resolved


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """Which run, by whom, and which part of it. `stage` is the key of a stage or of a group.

    `source` is run as an unpublished version instead of the run's own. With an `id` it is started once,
    however often it is asked for.
    """

    run: RunId
    actor: str
    form: Form = Form.WHOLE
    stage: str | None = None
    source: str | None = None
    id: RunId | None = None


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What a rerun would run again, what would stand, and what it would go on from.

    `refusal` says why it cannot be, `instead` with which stage it could be begun.
    """

    draft: Draft
    sources: Sequence[Source]
    refusal: str | None = None
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class _Edited:
    """Another definition than the run's, and what it plans."""

    source: str
    checked: Checked
    definition: Definition
    planned: Planned


class _IsStarted(Exception):
    """The rerun with that id was started before; the number that was taken for it is given back."""

    def __init__(self, run: RunId) -> None:
        self.run = run


def rerun_run(request: RerunRequest, *, store: Store, evaluator: Evaluator, ids: Ids) -> RunId:
    """Accept a new run that runs the other again; nothing is left of one that is refused.

    It has the same version unless a source is given, and the same inputs and recorded values. What was
    expanded stays as it was expanded, unless the definition is another.

    Raises NotFound, InvalidPipeline, InvalidInput, and Conflict where the run goes on, where there is nothing
    to do, and where something that it would go on from is gone.
    """
    try:
        return _rerun(request, store, evaluator, ids)
    except _IsStarted as known:
        return known.run


def _rerun(request: RerunRequest, store: Store, evaluator: Evaluator, ids: Ids) -> RunId:
    new_id = request.id or RunId(ids.uuid())
    edited = _edited(request, new_id, store, evaluator, ids)
    with store.begin() as tx:
        ended = ended_run(request.run, tx)
        number = tx.pipelines.take_run_number(ended.run.pipeline_id)
        if request.id is not None and tx.runs.get(new_id) is not None:
            raise _IsStarted(new_id)
        plan = _planned(request, ended, new_id, edited, tx, ids)
        if plan.refusal is not None:
            raise Conflict(plan.refusal, instead=plan.instead)
        run = _run(request, ended, new_id, number, edited, tx)
        _add(run, plan.draft, ended, tx)
        if run.turn is None:
            advance_run(new_id, tx)
    if run.turn is not None:
        admit_runs(run.project_id, run.turn, store=store)
    if any(stage.spec.is_open for stage in plan.draft.stages):
        expand_matrices(new_id, store=store, evaluator=evaluator, ids=ids)
    return new_id


def plan_rerun(request: RerunRequest, *, store: Store, evaluator: Evaluator, ids: Ids) -> RerunPlan:
    """What `rerun_run` would do; nothing is stored. Raises what that raises, but for what is gone."""
    new_id = RunId(ids.uuid())
    edited = _edited(request, new_id, store, evaluator, ids)
    with store.begin() as tx:
        return _planned(request, ended_run(request.run, tx), new_id, edited, tx, ids)


def ended_run(run_id: RunId, tx: Tx) -> Ended:
    """The run with all that a rerun needs of it. Raises NotFound, Conflict where it goes on."""
    run = tx.runs.get(run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    if not run.is_finished:
        raise Conflict(
            f"{run.pipeline}#{run.number} goes on; a run is rerun when it has ended. Within one that goes on "
            "`stage` begins a single stage again that has ended"
        )
    return Ended(run, tx.jobs.of_run(run_id), tx.stages.of_run(run_id), LeftWorkspaces(tx))


def _edited(
    request: RerunRequest, new_id: RunId, store: Store, evaluator: Evaluator, ids: Ids
) -> _Edited | None:
    """Evaluated outside of the transaction that makes the run. Raises InvalidPipeline, InvalidInput."""
    if request.source is None:
        return None
    with store.begin() as tx:
        run = ended_run(request.run, tx).run
    checked, definition = evaluate(request.source, evaluator)
    if definition.slug != run.pipeline:
        raise Conflict(
            f'the source names the pipeline "{definition.slug}"; a rerun of "{run.pipeline}" was asked for'
        )
    inputs = check_inputs(definition, run.inputs)
    facts = {**run.facts, "id": str(new_id)}
    checked, definition = resolved(request.source, checked, definition, inputs, facts, evaluator)
    return _Edited(request.source, checked, definition, plan_pipeline(definition, new_id, ids))


def _planned(
    request: RerunRequest, ended: Ended, new_id: RunId, edited: _Edited | None, tx: Tx, ids: Ids
) -> RerunPlan:
    draft = _draft(request.form, request.stage, ended, new_id, edited, tx, ids)
    sources = sources_of(draft, ended, tx)
    gone = next((source for source in sources if source.gone is not None and source.is_needed), None)
    if gone is None:
        return RerunPlan(draft, sources)
    instead = _instead(gone, ended, new_id, edited, tx, ids)
    way_out = "rerun all of it" if instead is None else f'begin with "{instead}" (from_stage, --from)'
    return RerunPlan(draft, sources, f"{_told(gone, ended)}; {way_out}", instead)


def _draft(
    form: Form, stage: str | None, ended: Ended, new_id: RunId, edited: _Edited | None, tx: Tx, ids: Ids
) -> Draft:
    planned = None if edited is None else edited.planned
    return draft_rerun(ended, form, stage, new_id, ids, now=tx.now(), planned=planned)


def _told(gone: Source, ended: Ended) -> str:
    if gone.what == FILES:
        what = f'the files that "{gone.stage}" kept'
    elif gone.what == FOLDER:
        what = "the folder that the run was started with"
    elif gone.stage == gone.needed_by:
        what = f'the workspace as "{gone.stage}" found it'
    else:
        what = f'the workspace that "{gone.stage}" left'
    return f'"{gone.needed_by}" of {ended.name} cannot be begun with: {what} is gone: {gone.gone}'


def _instead(
    gone: Source, ended: Ended, new_id: RunId, edited: _Edited | None, tx: Tx, ids: Ids
) -> str | None:
    """The nearest stage before it with which a rerun can still be begun; None where only all of it can."""
    keys = [stage.key for stage in ended.stages]
    before = keys[: keys.index(gone.needed_by)] if gone.needed_by in keys else []
    for key in reversed(before):
        try:
            draft = _draft(Form.FROM, key, ended, new_id, edited, tx, ids)
        except (Conflict, NotFound):
            continue
        if not any(source.gone and source.is_needed for source in sources_of(draft, ended, tx)):
            return key
    return None


def _run(
    request: RerunRequest, ended: Ended, new_id: RunId, number: int, edited: _Edited | None, tx: Tx
) -> Run:
    before = ended.run
    facts = {**before.facts, "id": str(new_id), "number": number}
    plan, turn, version_id, inputs = before.plan, before.turn, before.version_id, before.inputs
    if edited is None:
        if tx.pipelines.version(version_id) is None:
            raise Conflict(f"the version of {ended.name} is not there any more; give a `source` (--file)")
        # Functions of the definition read what they read then, so that it is the same definition.
        facts.setdefault(DEFINED_AS, before.facts.get("id"))
    else:
        facts.pop(DEFINED_AS, None)
        plan, turn = _plan_of(edited)
        inputs = check_inputs(edited.definition, before.inputs)
        version_id = _version(edited, ended, tx).id
    if before.folder is not None:
        tx.folders.touch(before.project_id, before.folder)
    return replace(
        before,
        id=new_id,
        version_id=version_id,
        number=number,
        status=RunStatus.QUEUED,
        reason=None if turn is None else Reason.CONCURRENCY,
        inputs=inputs,
        facts=facts,
        plan=plan,
        actor=request.actor,
        created_at=tx.now(),
        started_at=None,
        ended_at=None,
        cancelled_by=None,
        lines=0,
        waited_s=0.0,
        turn=turn,
        rerun_of=before.id,
    )


def _plan_of(edited: _Edited) -> tuple[Plan, str | None]:
    turn = edited.definition.concurrency
    return recorded(edited.definition, edited.checked.digest), None if turn is None else turn.group


def _version(edited: _Edited, ended: Ended, tx: Tx) -> Version:
    """The run's own or the newest where the text is that; else an unpublished one."""
    for known in (tx.pipelines.version(ended.run.version_id), tx.pipelines.published(ended.run.pipeline_id)):
        if known is not None and known.lua == edited.source:
            return known
    return tx.pipelines.add_version(
        ended.run.pipeline_id,
        edited.source,
        plain_of(edited.checked.table),
        edited.checked.digest,
        publish=False,
    )


def _add(run: Run, draft: Draft, ended: Ended, tx: Tx) -> None:
    """All rows of the rerun. What stands brings its outputs, artifacts and kept files along, by reference."""
    tx.runs.add(run)
    for job in draft.jobs:
        tx.jobs.add(job)
    tx.stages.add(draft.stages)
    kept = [stage.key for stage in draft.kept]
    if kept:
        tx.stages.copy_outputs(ended.run.id, run.id, kept)
        tx.artifacts.copy(ended.run.id, run.id, kept)
        tx.keeps.copy(ended.run.id, run.id, kept)
    for job in draft.jobs:
        if draft.stands(job):
            tx.snapshots.copy(draft.stands_for[job.id], job)
    told = {"number": run.number, "actor": run.actor, "rerun_of": str(ended.run.id)}
    tx.records.append(run.id, [(ControlEvent.RUN_CREATED, told)])
