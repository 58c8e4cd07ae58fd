"""Workspaces that travel between runners: laid out before a job's first stage, stored after its last one."""

import time
from collections.abc import Callable

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest, shown_size
from rivet.domain.ids import StageKey
from rivet.domain.order import Order, OrderedStage
from rivet.modules.contract import CallError
from rivet.runner.bench import OwnBench
from rivet.runner.blobs import BlobLink
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.laid_folder import TITLE as FOLDER
from rivet.runner.laid_folder import lay_folder
from rivet.runner.packing import WORKSPACE, Bench, Wanted, pack, pack_and_list, unpack_workspace

PATIENCE_S = 60.0
"""How long it is waited for an API that does not take a snapshot: the run can go on without, where it is."""

Say = Callable[[str, str], None]


class KeepConflict(CallError):
    """Two stages of a group keep the same path with different content."""


def lay_out(
    order: Order, stage: StageKey, parts: list[Contents], desk: Desk, folder: JobFolder, say: Say
) -> None:
    """Put what is stored into the job's workspace, one part over the other. Raises CallError.

    `stage` is the one that is to begin. The folder that the run was started with comes first.
    """
    title = "workspace"
    began = time.monotonic()
    with OwnBench(order, stage, desk, folder, say) as bench:
        if order.folder is not None:
            _lay_folder(order, order.folder, desk, bench, say)
        if not parts:
            return
        link = BlobLink(order, desk.client, title, say, bench.go_on)
        files = unpack_workspace(bench, link, title, parts)
    size = shown_size(sum(part.blob.size for part in parts))
    say("info", f"{title}: fetched {_counted(files)}, {size}, in {time.monotonic() - began:.1f} s")


def _lay_folder(
    order: Order, blob: Manifest, desk: Desk, bench: OwnBench, say: Callable[[str, str], None]
) -> None:
    began = time.monotonic()
    link = BlobLink(order, desk.client, FOLDER, say, bench.go_on)
    files = lay_folder(bench, link, blob, link.terms("snapshot"))
    say("info", f"{FOLDER}: {_counted(files)}, in {time.monotonic() - began:.1f} s")


def store_workspace(order: Order, stage: StageKey, desk: Desk, folder: JobFolder, say: Say) -> None:
    """Store what the job leaves; where that cannot be, it stays on this runner, and the log says why."""
    title = "workspace"
    began = time.monotonic()
    try:
        with OwnBench(order, stage, desk, folder, say) as bench:
            link = BlobLink(order, desk.client, title, say, bench.go_on, PATIENCE_S)
            most = link.terms("snapshot")
            everything = {WORKSPACE: ["."]}
            wanted = Wanted("all of it", "workspace.tar", everything, False, True, exactly=True)
            contents = pack(bench, link, title, wanted, most)
            link.call("PUT", "/snapshot", {"contents": contents.as_dict()})
    except CallError as error:
        say("warn", f"{error}; what goes on from here can do so on this runner alone")
        return
    size = shown_size(contents.blob.size)
    taken_s = time.monotonic() - began
    say("info", f"{title}: stored for other runners: {_counted(contents.files)}, {size}, in {taken_s:.1f} s")


def keep_files(
    order: Order, stage: OrderedStage, desk: Desk, bench: Bench, go_on: Callable[[], None]
) -> None:
    """Hand on the files that the stage keeps. Raises CallError, KeepConflict; what `go_on` raises."""
    title = "keep"
    link = BlobLink(order, desk.client, title, bench.say, go_on)
    name = f'what "{stage.name}" keeps'
    wanted = Wanted(name, "kept.tar", {WORKSPACE: stage.keep}, False, True, exactly=True)
    contents, paths = pack_and_list(bench, link, title, wanted, link.terms("snapshot"))
    told = link.call("PUT", f"/kept/{stage.key}", {"contents": contents.as_dict(), "paths": paths})
    if told["conflict"] is not None:
        path, other = told["conflict"]["path"], told["conflict"]["stage"]
        raise KeepConflict(
            f'{title}: "{path}" is kept by the stages "{stage.key}" and "{other}" with different content; '
            "give each a path of its own"
        )
    bench.say("info", f"{title}: {_counted(contents.files)}, {shown_size(contents.blob.size)}")


def _counted(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"
