"""Secrets: set, list, delete. Values go in and never out."""

import base64
import binascii
from typing import Any

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_token, the_web
from rivet.api.paging import Paged, page
from rivet.domain.pipeline import slug_of
from rivet.domain.secret import Audience, Secret
from rivet.engine.delete_secret import delete_secret
from rivet.engine.list_secrets import list_secrets
from rivet.engine.set_secret import set_secret
from rivet.store.records import iso

MOST_NAMED = 100

secrets = APIBlueprint("secrets", __name__, tag="Secrets")


class Setting(Body):
    """A secret's value, as text or (`base64`) as any bytes, and who may use it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    value: str | None = Field(default=None, description="1 byte to 64 KiB, as text.")
    base64: str | None = Field(default=None, description="The same, as any bytes, in base64.")
    pipelines: list[str] | None = Field(
        default=None, max_length=MOST_NAMED, description="Slugs of the pipelines that may use it."
    )
    branches: list[str] | None = Field(
        default=None,
        max_length=MOST_NAMED,
        description="Only runs on branches that match one of these globs may use it.",
    )
    all_pipelines: bool | None = Field(default=None, description="Every pipeline of the project may use it.")

    @field_validator("pipelines")
    @classmethod
    def _slugs(cls, pipelines: list[str] | None) -> list[str] | None:
        for name in pipelines or ():
            slug = slug_of(name[:200])
            if slug != name:
                hint = f'; did you mean "{slug}"?' if slug else ""
                raise ValueError(f'"{name[:100]}" is not the slug of a pipeline{hint}')
        return pipelines

    @field_validator("branches")
    @classmethod
    def _globs(cls, branches: list[str] | None) -> list[str] | None:
        for glob in branches or ():
            if not 1 <= len(glob) <= 255 or not glob.isprintable():
                raise ValueError("each is a glob of 1 to 255 printable characters, such as release/*")
        return branches

    @model_validator(mode="after")
    def _one_value(self) -> "Setting":
        if (self.value is None) == (self.base64 is None):
            raise ValueError("give the value once: as `value` (text) or as `base64` (any bytes)")
        if self.base64 is not None:
            _decoded(self.base64)
        return self

    def raw(self) -> bytes:
        return self.value.encode() if self.value is not None else _decoded(self.base64 or "")

    def audience(self) -> Audience | None:
        """None where nothing was said of it: then it stays as it is."""
        if self.pipelines is None and self.branches is None and self.all_pipelines is None:
            return None
        return Audience(
            tuple(dict.fromkeys(self.pipelines or ())),
            tuple(dict.fromkeys(self.branches or ())),
            bool(self.all_pipelines),
        )


class SecretShown(BaseModel):
    name: str
    project: str
    pipelines: list[str]
    branches: list[str]
    all_pipelines: bool
    set_by: str
    created_at: str
    updated_at: str


class SecretSet(SecretShown):
    warnings: list[str]


class SecretPage(BaseModel):
    items: list[SecretShown]
    next_cursor: str | None


@secrets.put("/projects/<project>/secrets/<name>")
@needs_admin
@secrets.input(Setting)
@secrets.output(SecretSet)
@secrets.doc(
    operation_id="set_secret",
    summary="Set a secret",
    security="bearer",
    responses={201: "It was not there before"},
)
def put(project: str, name: str, json_data: Setting) -> Any:
    web = the_web()
    done = set_secret(
        project,
        name,
        json_data.raw(),
        json_data.audience(),
        the_token().name,
        store=web.store,
        vault=web.vault,
    )
    told = _shown(done.secret, project) | {"warnings": list(done.warnings)}
    return told, 201 if done.created else 200


@secrets.get("/projects/<project>/secrets")
@needs_admin
@secrets.input(Paged, location="query")
@secrets.output(SecretPage)
@secrets.doc(
    operation_id="list_secrets",
    summary="List secrets by name, without their values",
    security="bearer",
)
def list_all(project: str, query_data: Paged) -> dict[str, Any]:
    found, following = list_secrets(
        project, after=query_data.after(), limit=query_data.limit, store=the_web().store
    )
    return page([_shown(each, project) for each in found], following)


@secrets.delete("/projects/<project>/secrets/<name>")
@needs_admin
@secrets.output({}, status_code=204)
@secrets.doc(operation_id="delete_secret", summary="Delete a secret", security="bearer")
def delete(project: str, name: str) -> tuple[str, int]:
    delete_secret(project, name, store=the_web().store)
    return "", 204


def _shown(secret: Secret, project: str) -> dict[str, Any]:
    return {
        "name": secret.name,
        "project": project,
        "pipelines": list(secret.audience.pipelines),
        "branches": list(secret.audience.branches),
        "all_pipelines": secret.audience.all_pipelines,
        "set_by": secret.set_by,
        "created_at": iso(secret.created_at),
        "updated_at": iso(secret.updated_at),
    }


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("base64: is not base64 (RFC 4648, section 4)") from None
