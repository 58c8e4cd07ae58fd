"""The group `rivet runs` with all of its commands: importing their files adds them."""

from rivet.cli import approve, logs, rerun
from rivet.cli.runs import runs

__all__ = ["approve", "logs", "rerun", "runs"]
