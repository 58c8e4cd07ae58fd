"""The pipeline that a case becomes: the prelude, and one stage whose script is the case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cases import Case

PRELUDE = (Path(__file__).parent / "prelude.lua").read_text()
STAGE_S = 8.0
"""Seconds that a stage under attack may take if time may end it: far less than usual."""
PATIENT_S = 60.0
"""What one may take that is to end in another way."""

_TEXT = """\
{prelude}
return {{
  name = "{slug}",
  queue = "{queue}",
  timeout = {seconds},
  limits = {{ memory = "{memory}" }},
  permissions = {{ network = {network}, hosts = {{ {hosts} }} }},
  stages = {{
    {{
      name = "attack",
      timeout = {seconds},
      {fields}
      script = function()
{case}
      end,
    }},
  }},
}}
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a case may use; `seconds` of wall time."""

    seconds: float = STAGE_S
    memory: str = "48MiB"

    @classmethod
    def of(cls, case: Case, seconds: float) -> "Limits":
        """`seconds` where time may end the case."""
        return cls(seconds if "timeout" in case.expect else max(PATIENT_S, seconds))


def prelude_lines() -> int:
    """How many lines of a pipeline's file are the harness's, before what the case says."""
    return PRELUDE.count("\n") + 1


def pipeline_text(case: Case, lua: str, slug: str, hosts: Sequence[str], limits: Limits, *, queue: str) -> str:
    """The whole file. `lua` is the case's, filled in; `hosts` are granted unless the case wants none."""
    granted = hosts if case.is_granted_network else ()
    return _TEXT.format(
        prelude=PRELUDE,
        slug=slug,
        queue=queue,
        seconds=limits.seconds,
        memory=limits.memory,
        network="true" if case.is_granted_network else "false",
        hosts=", ".join(f'"{host}"' for host in granted),
        fields=" ".join(f"{field}," for field in case.stage_fields),
        case=lua,
    )
