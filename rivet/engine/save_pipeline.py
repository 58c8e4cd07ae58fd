"""Save a pipeline: evaluate the source, and publish it as a new version."""

from dataclasses import dataclass

from rivet.domain.errors import Conflict, InvalidPipeline, NotFound
from rivet.domain.pipeline import Checked, Definition, plain_of
from rivet.engine.ports import Evaluator, Pipeline, Project, Store, Tx, Version


@dataclass(frozen=True, slots=True)
class SavedVersion:
    pipeline: Pipeline
    version: Version
    created: bool
    checked: Checked


def save_pipeline(
    project: str, source: str, *, slug: str | None, store: Store, evaluator: Evaluator
) -> SavedVersion:
    """Publish `source` in the project; with `slug`, only as a new version of that pipeline.

    Raises InvalidPipeline with its findings, NotFound for an unknown project or slug, Conflict where the
    source's own slug is another.
    """
    checked, definition = evaluate(source, evaluator)
    if slug is not None and definition.slug != slug:
        raise Conflict(
            f'the source names the pipeline "{definition.slug}", but a new version of "{slug}" was asked '
            "for; save it under its own name or change `name`"
        )
    with store.begin() as tx:
        home = project_of(project, tx)
        known = tx.pipelines.get(home.id, definition.slug)
        if known is None and slug is not None:
            raise NotFound(f'project "{project}" has no pipeline "{slug}"')
        refuse_other_name(known, definition)
        pipeline = known or tx.pipelines.add(home.id, definition.slug, definition.name)
        version = tx.pipelines.add_version(
            pipeline.id, source, plain_of(checked.table), checked.digest, publish=True
        )
    return SavedVersion(pipeline, version, known is None, checked)


def evaluate(source: str, evaluator: Evaluator) -> tuple[Checked, Definition]:
    """The checked source and its definition. Raises InvalidPipeline with every finding."""
    checked = evaluator.check(source)
    if checked.definition is None:
        raise invalid(checked)
    return checked, checked.definition


def invalid(checked: Checked) -> InvalidPipeline:
    errors = checked.errors
    first = f": line {errors[0].line}: {errors[0].message}" if errors else ""
    return InvalidPipeline(
        f"the pipeline has {len(errors)} error{'s' if len(errors) != 1 else ''}{first}",
        findings=[place.as_dict() for place in checked.places],
    )


def project_of(slug: str, tx: Tx) -> Project:
    found = tx.pipelines.project(slug)
    if found is None:
        raise NotFound(f'there is no project "{slug}"')
    return found


def refuse_other_name(known: Pipeline | None, definition: Definition) -> None:
    """Two names of one slug are two pipelines to a person and one to us: refused."""
    if known is not None and known.name != definition.name:
        raise Conflict(
            f'"{definition.name}" has the slug "{definition.slug}", which is taken by "{known.name}"; '
            "give one of them another name or a `slug` of its own"
        )
