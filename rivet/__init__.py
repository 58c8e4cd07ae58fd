"""Rivet: a self-hosted CI/CD system whose pipelines are Lua scripts, run in a sandbox."""

__version__ = "0.1.0"
