"""The types of identities. All ids are made outside (`engine.ports.Ids`); here they only have names."""

from typing import NewType
from uuid import UUID

ProjectId = NewType("ProjectId", UUID)
PipelineId = NewType("PipelineId", UUID)
VersionId = NewType("VersionId", UUID)
RunId = NewType("RunId", UUID)
JobId = NewType("JobId", UUID)
StageId = NewType("StageId", UUID)
SessionId = NewType("SessionId", UUID)
TokenId = NewType("TokenId", UUID)

StageKey = NewType("StageKey", str)
"""A stage's slug, unique in its run."""

Epoch = NewType("Epoch", int)
"""How often a job has been begun: from 1. What is older than the job's epoch changes nothing."""

NO_EPOCH = Epoch(0)
"""Of a job that has not been begun yet."""

Path = tuple[str | int, ...]
"""Where a value stands in an evaluated table: `("stages", 2, "timeout")`, lists counted from 1."""
