"""Folders that runs start from: uploaded once, named by the SHA-256 of what is sent."""

from collections.abc import Iterator
from typing import Any

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel
from werkzeug.exceptions import RequestEntityTooLarge

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.api.operation import refuses, takes_bytes
from rivet.domain.blob import checked_digest
from rivet.domain.errors import InvalidInput, NotFound
from rivet.engine.keep_folder import MOST_BYTES, keep_folder
from rivet.engine.save_pipeline import project_of

folders = APIBlueprint("folders", __name__, tag="Folders")

_READ_BYTES = 256 * 1024


class FolderShown(BaseModel):
    project: str
    sha256: str
    size: int


@folders.put("/projects/<project>/folders/<sha256>")
@needs_admin
@refuses(InvalidInput)
@takes_bytes("application/octet-stream")
@folders.output(FolderShown, status_code=201)
@folders.doc(
    operation_id="put_folder",
    summary="Upload a folder as tar.zst, of 256 MiB at most, for runs to start from",
    security="bearer",
    responses={200: "It was there already"},
)
def put(project: str, sha256: str) -> Any:
    web = the_web()
    checked_digest(sha256)
    request.max_content_length = MOST_BYTES
    kept, is_new = keep_folder(project, sha256, _sent(), store=web.store, blobs=web.blobs)
    return {"project": project, "sha256": sha256, "size": kept.size}, 201 if is_new else 200


@folders.get("/projects/<project>/folders/<sha256>")
@needs_admin
@refuses(InvalidInput)
@folders.output(FolderShown)
@folders.doc(operation_id="read_folder", summary="Is the folder there?", security="bearer")
def read(project: str, sha256: str) -> Any:
    checked_digest(sha256)
    with the_web().store.begin() as tx:
        found = tx.folders.get(project_of(project, tx).id, sha256)
    if found is None:
        raise NotFound(f"no folder with the SHA-256 {sha256} was uploaded; PUT it here")
    return {"project": project, "sha256": sha256, "size": found.size}


def _sent() -> Iterator[bytes]:
    """The request's body as it comes. Raises RequestEntityTooLarge."""
    if (request.content_length or 0) > MOST_BYTES:
        raise RequestEntityTooLarge
    size = 0
    while data := request.stream.read(_READ_BYTES):
        size += len(data)
        if size > MOST_BYTES:
            raise RequestEntityTooLarge
        yield data
