"""Artifacts of a stage: out of its workspace into the run, and from a run into its workspace."""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from rivet.client import Client
from rivet.domain.artifact import Contents
from rivet.domain.blob import shown_size
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import StageKey
from rivet.domain.order import Order
from rivet.modules.contract import CallError
from rivet.runner.blobs import BlobLink
from rivet.runner.packing import WORKSPACE, Bench, Wanted, pack, unpack


class StageArtifacts:
    """The contract's `Artifacts`. `go_on` raises where the stage is to stop."""

    def __init__(
        self,
        order: Order,
        stage: StageKey,
        attempt: int,
        client: Client,
        bench: Bench,
        go_on: Callable[[], None],
    ) -> None:
        self._order, self._stage, self._attempt = order, stage, attempt
        self._client, self._bench, self._go_on = client, bench, go_on

    def upload(self, name: str, globs: Sequence[str]) -> Contents:
        title = "artifacts.upload"
        link = self._link(title)
        wanted = Wanted(f'artifact "{name}"', f"{name}.tar", {WORKSPACE: globs}, True, False)
        contents = pack(self._bench, link, title, wanted, link.terms("artifact"))
        told = {"stage": self._stage, "attempt": self._attempt, "contents": contents.as_dict()}
        link.call("PUT", f"/artifacts/{quote(name, safe='')}", told)
        self._bench.say("info", f'uploaded the artifact "{name}": {described(contents)}')
        return contents

    def download(self, name: str, path: str | None, run: str | None) -> Contents:
        title = "artifacts.download"
        link = self._link(title)
        query = "" if run is None else f"?run={quote(run, safe='')}"
        told = link.call("GET", f"/artifacts/{quote(name, safe='')}{query}")
        try:
            contents = Contents.read(told)
        except InvalidInput as error:
            raise CallError(f"{title}: {error.message}") from None
        into = contents.root if path is None else path
        unpack(self._bench, link, title, contents, {"": WORKSPACE}, into=into)
        self._bench.say("info", f'downloaded the artifact "{name}": {described(contents)}')
        return contents

    def _link(self, title: str) -> BlobLink:
        return BlobLink(self._order, self._client, title, self._bench.say, self._go_on)


def described(contents: Contents) -> str:
    """How many files and bytes, and which: what a log says of them."""
    files = "1 file" if contents.files == 1 else f"{contents.files} files"
    return f"{files}, {shown_size(contents.blob.size)}, sha256 {contents.blob.sha256}"
