"""Caches of a stage: restored by key, or by the beginning of one, and saved under a key once."""

from collections.abc import Callable, Sequence

from rivet.client import Client
from rivet.domain.artifact import Contents
from rivet.domain.errors import InvalidInput
from rivet.domain.order import Order
from rivet.modules.contract import CallError
from rivet.runner.artifacts import described
from rivet.runner.blobs import BlobLink
from rivet.runner.packing import HOME, WORKSPACE, Bench, Wanted, pack, split_by_place, unpack

FOLDERS = {WORKSPACE: WORKSPACE, HOME: HOME}
"""Where things go back to: by the first part of their names in a cache."""


class StageCaches:
    """The contract's `Caches`. `go_on` raises where the stage is to stop."""

    def __init__(self, order: Order, client: Client, bench: Bench, go_on: Callable[[], None]) -> None:
        self._order, self._client, self._bench, self._go_on = order, client, bench, go_on

    def restore(self, key: str, fallback: Sequence[str], paths: Sequence[str]) -> str | None:
        title = "cache.restore"
        link = self._link(title)
        told = link.call("POST", "/caches/find", {"key": key, "fallback": list(fallback)})
        if told["key"] is None:
            self._bench.say("info", f'no cache has the key "{key}"' + _or_begins(fallback))
            return None
        try:
            contents = Contents.read(told["contents"])
        except InvalidInput as error:
            raise CallError(f"{title}: {error.message}") from None
        files = unpack(self._bench, link, title, contents, FOLDERS, wanted=_names(paths))
        some = "1 file" if files == 1 else f"{files} files"
        self._bench.say("info", f'restored {some} of the cache "{told["key"]}": {described(contents)}')
        return str(told["key"])

    def save(self, key: str, paths: Sequence[str]) -> bool:
        title = "cache.save"
        link = self._link(title)
        asked = {"key": key, "only_look": True}
        if link.call("POST", "/caches/find", asked)["is_there"]:
            self._bench.say("info", f'there is a cache "{key}" already; it is left as it is')
            return False
        wanted = Wanted(f'cache "{key}"', "cache.tar", split_by_place(paths), False, True)
        contents = pack(self._bench, link, title, wanted, link.terms("cache"))
        kept = bool(link.call("POST", "/caches", {"key": key, "contents": contents.as_dict()})["kept"])
        if kept:
            self._bench.say("info", f'saved the cache "{key}": {described(contents)}')
        else:
            self._bench.say("info", f'somebody else has saved a cache "{key}" meanwhile; it is left as it is')
        return kept

    def _link(self, title: str) -> BlobLink:
        return BlobLink(self._order, self._client, title, self._bench.say, self._go_on)


def _names(paths: Sequence[str]) -> list[str]:
    """As they are called in a cache."""
    return [f"{folder}/{inner}" for folder, inners in split_by_place(paths).items() for inner in inners]


def _or_begins(fallback: Sequence[str]) -> str:
    quoted = " or ".join(f'"{prefix}"' for prefix in fallback)
    return f", and none begins with {quoted}" if fallback else ""
