"""`rivet plan`: what a run would do, without running anything."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from rivet.cli.complete import pipeline_or_file
from rivet.cli.failures import USAGE, Failed, findings_of
from rivet.cli.inputs import parse_inputs
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import paint
from rivet.cli.source import is_file, read_source
from rivet.cli.text import harmless, seconds
from rivet.client import ApiProblem, Client


@click.command()
@click.argument("pipeline", metavar="FILE|NAME", shell_complete=pipeline_or_file)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input; repeatable.")
@project_option
@quiet_option
@json_option
def plan(pipeline: str, inputs: tuple[str, ...], project: str, quiet: bool, as_json: bool) -> None:
    """Show what a run would do: jobs, stages, queues, inputs, secrets, permissions, and the calls of scripts.

    Nothing runs. A call marked with ~ is answered by assumption (a process ends with exit code 0 and says
    nothing, a file is empty): what a script does on other answers is not shown.

    Example: rivet plan pipeline.lua -i target=staging
    """
    told = ask_plan(server(), project, pipeline, parse_inputs(inputs))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for line in _outline(told) if quiet else _lines(told):
        click.echo(line)


def ask_plan(client: Client, project: str, pipeline: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The plan of a file or a stored pipeline. Raises Failed with the file's findings, and ApiProblem."""
    what = {"source": read_source(pipeline)} if is_file(pipeline) else {"pipeline": pipeline}
    try:
        return dict(client.call("POST", "/pipelines/plan", {"project": project, "inputs": inputs, **what}))
    except ApiProblem as problem:
        lines = findings_of(problem, pipeline)
        if lines:
            raise Failed("\n".join((f"{pipeline} is not a pipeline", *lines)), USAGE) from problem
        raise


def _outline(told: Mapping[str, Any]) -> Iterator[str]:
    for stage in told["stages"]:
        yield harmless(f"{stage['job']}  {stage['key']}")


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    most = seconds(told["timeout_s"])
    yield f"{paint(harmless(told['name']), bold=True)}  ({told['slug']}), at most {most}"
    for each in told["inputs"]:
        yield harmless(_input(each))
    yield harmless(f"  permissions  {_permissions(told['permissions'])}")
    if told["secrets"] is not None:
        yield harmless(f"  secrets      {', '.join(told['secrets']) or 'none'}")
    if told["isolation"]:
        yield harmless(f"  isolation    {told['isolation']} at least")
    for job in told["jobs"]:
        yield ""
        yield paint(harmless(_job(job)), bold=True)
        for stage in told["stages"]:
            if stage["job"] == job["number"]:
                yield from map(harmless, _stage(stage))
    if told["unknown"]:
        yield ""
        yield paint("Not known before it runs", "yellow")
        for one in told["unknown"]:
            yield harmless(f"  {one}")


def _input(each: Mapping[str, Any]) -> str:
    value = "missing: it is required" if each["missing"] else f"= {json.dumps(each['value'])}"
    options = f", one of {json.dumps(each['options'])}" if each["options"] else ""
    return f"  input        {each['name']} ({each['type']}{options}) {value}"


def _permissions(granted: Mapping[str, Any]) -> str:
    network = "network" if granted["network"] else ""
    reach = [network, *granted["network_hosts"], *(f"http {host}" for host in granted["hosts"])]
    return ", ".join(filter(None, reach)) or "none"


def _job(job: Mapping[str, Any]) -> str:
    waits = f", after job {', '.join(map(str, job['waits_for']))}" if job["waits_for"] else ""
    last = ", at the end whatever happened" if job["is_last"] else ""
    group = f", of {job['group']}" if job["group"] else ""
    return f"job {job['number']}  queue {job['queue']}{group}{waits}{last}"


def _stage(stage: Mapping[str, Any]) -> Iterator[str]:
    remarks = [
        {True: "its condition holds", False: "skipped: its condition does not hold"}.get(stage["when"], ""),
        f"waits for a person: {stage['approval']}" if stage["approval"] is not None else "",
        f"up to {stage['attempts']} attempts" if stage["attempts"] > 1 else "",
        f"secrets {', '.join(stage['secrets'])}" if stage["secrets"] else "",
    ]
    about = "; ".join(filter(None, remarks))
    yield f"  {stage['name']}{f'  ({about})' if about else ''}"
    for call in stage["calls"]:
        yield f"    {'~' if call['assumed'] else ' '} {call['call']}"
    if stage["left_out"]:
        yield f"      and {stage['left_out']} calls more"
    if stage["unknown"]:
        yield f"    ? {stage['unknown']}"
