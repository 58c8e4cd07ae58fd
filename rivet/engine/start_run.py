"""Start a run: check inputs, evaluate what depends on them, and record it with its jobs and stages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rivet.domain.errors import Conflict, InvalidInput, NotFound
from rivet.domain.ids import RunId, VersionId
from rivet.domain.inputs import check_inputs
from rivet.domain.pipeline import Checked, Definition, plain_of
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run
from rivet.domain.states import Reason, RunStatus
from rivet.engine.admit_runs import admit_runs
from rivet.engine.advance_run import advance_run
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.plan_pipeline import plan_pipeline, recorded
from rivet.engine.ports import Evaluator, Ids, Pipeline, Published, Store, Tx, Version
from rivet.engine.save_pipeline import evaluate, invalid, project_of, refuse_other_name

DEFINED_AS = "defined_as"
"""A fact of reruns: the id of the run that functions of the definition read as `run.id`, then as now."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """`source` runs a text as an unpublished version, or publishes it with `save`; `version` picks one.

    With an `id` it is started once, however often it is asked for. `folder` is the SHA-256 of an uploaded
    one, from which it starts.
    """

    project: str
    slug: str
    inputs: Mapping[str, Any]
    source: str | None
    version: int | None
    save: bool
    actor: str
    trigger: str
    id: RunId | None = None
    folder: str | None = None


class _IsStarted(Exception):
    """The run with that id was started before."""

    def __init__(self, run: RunId) -> None:
        self.run = run


def start_run(request: StartRequest, *, store: Store, evaluator: Evaluator, ids: Ids) -> RunId:
    """Accept a run and queue its first jobs, all in one transaction; nothing is left of one that is refused.

    One with a `concurrency` group is queued when its turn has come.

    Raises NotFound, InvalidPipeline, InvalidInput, Conflict.
    """
    try:
        return _start(request, store, evaluator, ids)
    except _IsStarted as known:
        return known.run


def _start(request: StartRequest, store: Store, evaluator: Evaluator, ids: Ids) -> RunId:
    if request.source is not None and request.version is not None:
        raise Conflict("a run is of a stored `version` or of a `source`, not of both")
    source = request.source if request.source is not None else stored_version(request, store).lua
    checked, definition = evaluate(source, evaluator)
    if definition.slug != request.slug:
        raise Conflict(
            f'the source names the pipeline "{definition.slug}", but a run of "{request.slug}" was asked for'
        )
    inputs = check_inputs(definition, request.inputs)
    run_id = request.id or RunId(ids.uuid())
    facts = facts_of(request, run_id)
    checked, definition = resolved(source, checked, definition, inputs, facts, evaluator)
    planned = plan_pipeline(definition, run_id, ids)
    with store.begin() as tx:
        pipeline, version_id = _version(request, source, checked, definition, tx)
        number = tx.pipelines.take_run_number(pipeline.id)
        if request.id is not None and tx.runs.get(run_id) is not None:
            raise _IsStarted(run_id)
        run = Run(
            id=run_id,
            project_id=pipeline.project_id,
            project=request.project,
            pipeline_id=pipeline.id,
            pipeline=pipeline.slug,
            version_id=version_id,
            number=number,
            status=RunStatus.QUEUED,
            reason=Reason.CONCURRENCY if definition.concurrency is not None else None,
            inputs=inputs,
            facts=facts | {"number": number},
            plan=recorded(definition, checked.digest),
            actor=request.actor,
            trigger=request.trigger,
            created_at=tx.now(),
            turn=definition.concurrency.group if definition.concurrency is not None else None,
            folder=_folder(request, pipeline, tx),
        )
        tx.runs.add(run)
        for job in planned.jobs:
            tx.jobs.add(job)
        tx.stages.add(planned.stages)
        tx.records.append(run_id, [(ControlEvent.RUN_CREATED, {"number": number, "actor": request.actor})])
        if run.turn is None:
            advance_run(run_id, tx)
    if run.turn is not None:
        admit_runs(run.project_id, run.turn, store=store)
    if any(stage.spec.is_open for stage in planned.stages):
        expand_matrices(run_id, store=store, evaluator=evaluator, ids=ids)
    return run_id


def _folder(request: StartRequest, pipeline: Pipeline, tx: Tx) -> str | None:
    if request.folder is not None and not tx.folders.touch(pipeline.project_id, request.folder):
        raise InvalidInput(
            f"folder: nothing with the SHA-256 {request.folder} was uploaded; "
            f"PUT /projects/{request.project}/folders/{request.folder} first"
        )
    return request.folder


def stored_version(request: StartRequest, store: Store) -> Version:
    """The published version that is asked for. Raises NotFound."""
    with store.begin() as tx:
        project = project_of(request.project, tx)
        pipeline = tx.pipelines.get(project.id, request.slug)
        if pipeline is None:
            raise NotFound(f'project "{request.project}" has no pipeline "{request.slug}"')
        version = tx.pipelines.published(pipeline.id, request.version)
        if version is None:
            which = "published version" if request.version is None else f"version {request.version}"
            raise NotFound(f'pipeline "{request.slug}" has no {which}')
        return version


def facts_of(request: StartRequest, run_id: RunId) -> dict[str, Any]:
    """What is recorded of a run from the beginning, and read as `run`."""
    return {
        "id": str(run_id),
        "pipeline": request.slug,
        "project": request.project,
        "trigger": request.trigger,
        "actor": request.actor,
    }


def resolved(
    source: str,
    checked: Checked,
    definition: Definition,
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any],
    evaluator: Evaluator,
) -> tuple[Checked, Definition]:
    """With the functions called that a run begins with. The run's number is not known to them yet."""
    turn = definition.concurrency
    if not definition.stages_from_function and (turn is None or turn.group is not None):
        return checked, definition
    again = evaluator.check(source, inputs=inputs, run=facts)
    if again.definition is None:
        raise invalid(again)
    return again, replace(again.definition, stages_from_function=definition.stages_from_function)


def _version(
    request: StartRequest, source: str, checked: Checked, definition: Definition, tx: Tx
) -> tuple[Pipeline, VersionId]:
    """The version that runs: the stored one of this text, or a new one, published if asked or if first."""
    found = tx.pipelines.find(request.project, request.slug)
    if found is None:
        raise NotFound(f'there is no project "{request.project}"')
    known, newest = found.pipeline, found.newest
    if request.source is None:
        if known is None:
            raise NotFound(f'project "{request.project}" has no pipeline "{request.slug}"')
        if request.version is not None:
            newest = _published(tx.pipelines.published(known.id, request.version))
        if newest is None or newest.lua != source:
            raise Conflict(f'pipeline "{request.slug}" got a new version just now; start the run again')
        return known, newest.id
    refuse_other_name(known, definition)
    pipeline = known or tx.pipelines.add(found.project.id, definition.slug, definition.name)
    if known is None:
        # Another may have made it in the same moment, and published.
        newest = _published(tx.pipelines.published(pipeline.id))
    if newest is not None and newest.lua == source:
        return pipeline, newest.id
    made = tx.pipelines.add_version(
        pipeline.id,
        source,
        plain_of(checked.table),
        checked.digest,
        publish=request.save or newest is None,
    )
    return pipeline, made.id


def _published(version: Version | None) -> Published | None:
    return None if version is None else Published(version.id, version.lua)
