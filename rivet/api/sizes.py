"""How much everything takes, how fast it grows, and when the disk is full."""

from datetime import UTC, datetime
from typing import Any

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.wiring.sizes import LOOKED_BACK, described

sizes = APIBlueprint("sizes", __name__, tag="Health")


class SizeShown(BaseModel):
    name: str
    bytes: int
    bytes_per_day: int | None = Field(description="Of the last two weeks; null before there are samples.")
    on_disk: bool = Field(description="Whether it is on the disk of the server's home.")


class DiskShown(BaseModel):
    path: str
    total: int
    free: int
    bytes_per_day: int | None
    full_at: str | None = Field(description="When it is full at this rate; null if it does not grow.")


class SizesShown(BaseModel):
    items: list[SizeShown]
    disk: DiskShown
    sampled_since: str | None


@sizes.get("/sizes")
@needs_admin
@sizes.output(SizesShown)
@sizes.doc(
    operation_id="read_sizes",
    summary="Read how much everything takes, how fast it grows, and when the disk is full",
    security="bearer",
)
def read() -> dict[str, Any]:
    web = the_web()
    now = datetime.now(UTC)
    return described(web.settings, web.sizes.measured(), web.sizes.samples(now - LOOKED_BACK), now)
