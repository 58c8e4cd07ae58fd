"""Settings of every part, from the environment or `rivet.toml`; the environment wins."""

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rivet.domain.field_rules import Most, TimeLimits
from rivet.domain.limits import KIB, MIB, Limits
from rivet.domain.retention import Keep
from rivet.domain.runner import KeepingRule

Listed = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every setting is a variable `RIVET_<NAME>`; `rivet.toml` has the same names, in either case."""

    model_config = SettingsConfigDict(env_prefix="RIVET_", extra="ignore", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("rivet")),
        description="Embedded servers, keys, artifacts and workspaces live here.",
    )
    database_url: str = Field(default="", description="PostgreSQL; embedded if empty.")
    broker_url: str = Field(
        default="", description="Redis: broker, result backend and live journal; embedded if empty."
    )
    url: str = Field(default="", description="Where the command line and runners find the API.")
    token: str = Field(default="", description="As whom they speak to it.")
    secret_key: str = Field(
        default="", description="Signs tickets, seals secrets; made on first start in the home."
    )
    isolation: str = Field(
        default="auto",
        description=(
            "How stages are shut in: auto (namespaces, else landlock), namespaces, landlock, or none at all."
        ),
    )
    allow_network: str = Field(default="public", description="public or none: addresses that may be reached.")
    allow_hosts: Listed = Field(
        default=(), description="Hosts, host:port or networks allowed besides, separated by commas."
    )
    allow_paths: Listed = Field(default=(), description="Folders whose repositories git may clone.")
    tools: Listed = Field(default=(), description="Folders of tools for stages; else the PATH.")
    lease_seconds: float = Field(default=12.0, gt=0.5, description="A job's lease; beats are parts of it.")
    stage_uids: str = Field(
        default="200000-200999", description="User ids of workspaces where the runner was started by root."
    )
    queues: Listed = Field(default=("default",), description="Queues that this runner serves.")
    slots: int = Field(default=2, ge=1, le=256, description="Jobs that this runner works on at once.")
    runner_name: str = Field(
        default_factory=lambda: f"{socket.gethostname().split('.')[0]}-runner",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="This runner's name, one live process a name.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="The API's port.")
    host: str = Field(default="127.0.0.1", description="The address that the API listens on.")
    artifacts_url: str = Field(
        default="", description="Where artifacts and caches are: a folder or s3://bucket; else in the home."
    )
    artifact_mib: int = Field(default=10 * 1024, ge=1, description="The most that one artifact may have.")
    cache_mib: int = Field(default=5 * 1024, ge=1, description="The most that one cache may have.")
    max_stage_seconds: float = Field(
        default=24 * 3600.0, gt=0, description="The longest `timeout` that a stage may ask for."
    )
    max_run_seconds: float = Field(
        default=7 * 24 * 3600.0, gt=0, description="The longest `timeout` that a pipeline may ask for."
    )
    max_lua_mib: int = Field(default=64, ge=8, le=1024, description="Memory of a stage's script.")
    max_lua_cpu_seconds: float = Field(default=60.0, gt=0, description="Processor time of a stage's script.")
    max_processes: int = Field(
        default=1024, ge=8, description="Processes and threads that a stage may have at once."
    )
    max_process_mib: int = Field(
        default=4096, ge=16, description="Memory of a stage's processes together, looked at 4 times a second."
    )
    max_open_files: int = Field(default=4096, ge=32, description="Files that each process may have open.")
    max_workspace_mib: int = Field(
        default=10 * 1024, ge=1, description="Files in a stage's workspace and home together."
    )
    max_log_mib: int = Field(default=1024, ge=1, description="Output of a stage, its log.")
    max_log_lines: int = Field(default=10_000_000, ge=10, description="Lines of a stage's log.")
    max_frame_kib: int = Field(
        default=8192, ge=64, le=65536, description="One value that goes into a stage's script or out of it."
    )
    max_calls: int = Field(
        default=100_000, ge=10, description="Calls of modules a second, over ten seconds."
    )
    max_network_mib: int = Field(
        default=100 * 1024, ge=1, description="What a stage's processes may send and receive in all."
    )
    plugins: Listed = Field(
        default=("all",), description="Plug-ins' modules that pipelines may use: names, all, or none."
    )
    snapshot_mib: int = Field(
        default=10 * 1024,
        ge=1,
        description="The most that a stored workspace, or what a stage keeps, may have.",
    )
    keep_runs_days: int = Field(
        default=365, ge=1, le=36500, description="How long runs are kept after their end, in days."
    )
    keep_logs_days: int = Field(
        default=90, ge=1, le=36500, description="How long logs are kept after their run's end, in days."
    )
    logs_in: Literal["database", "artifacts"] = Field(
        default="database",
        description="database or artifacts: where logs are from some minutes after their run's end on.",
    )
    keep_artifacts_days: int = Field(
        default=30, ge=1, le=36500, description="How long artifacts can be downloaded, in days."
    )
    keep_artifacts_mib: int = Field(
        default=100 * 1024, ge=1, description="Artifacts of a project together; the oldest go first."
    )
    keep_caches_days: int = Field(
        default=30, ge=1, le=36500, description="How long a cache is kept after its last use, in days."
    )
    keep_caches_mib: int = Field(
        default=20 * 1024, ge=1, description="Caches of a project together; the longest unused go first."
    )
    keep_runners_days: int = Field(
        default=30, ge=1, le=36500, description="How long a runner that is gone stays listed, in days."
    )
    kept_hours: float = Field(
        default=24.0, ge=0, description="How long a runner keeps workspaces of ended runs, for reruns."
    )
    kept_mib: int = Field(
        default=10 * 1024,
        ge=0,
        description="How much of it a runner keeps in all, the newest; 0: no rerun from the middle of a job.",
    )
    public_metrics: bool = Field(
        default=False, description="true: `/metrics` is served to whoever asks, without a token."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="text or json: the logs of API and control."
    )

    @field_validator("allow_hosts", "allow_paths", "tools", "queues", "plugins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_url")
    @classmethod
    def _psycopg2(cls, value: str) -> str:
        """SQLAlchemy 2.1 takes the short form for psycopg 3, which Rivet does not use."""
        for short in ("postgresql://", "postgres://"):
            if value.startswith(short):
                return "postgresql+psycopg2://" + value.removeprefix(short)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get("RIVET_CONFIG", "rivet.toml"))
        return init_settings, env_settings, _TomlSource(settings_cls, toml_file=file)

    def time_limits(self) -> TimeLimits:
        """The operator's maxima, with the settings that they come from."""
        return TimeLimits(
            stage=Most(self.max_stage_seconds, "RIVET_MAX_STAGE_SECONDS"),
            run=Most(self.max_run_seconds, "RIVET_MAX_RUN_SECONDS"),
        )

    def limits(self) -> Limits:
        """What a stage may use up at most on this runner."""
        return Limits(
            memory=self.max_lua_mib * MIB,
            cpu=self.max_lua_cpu_seconds,
            processes=self.max_processes,
            process_memory=self.max_process_mib * MIB,
            open_files=self.max_open_files,
            workspace=self.max_workspace_mib * MIB,
            log_bytes=self.max_log_mib * MIB,
            log_lines=self.max_log_lines,
            frame=self.max_frame_kib * KIB,
            calls=self.max_calls,
            network=self.max_network_mib * MIB,
        )

    def keep(self) -> Keep:
        """How long, and how much of what, is kept."""
        return Keep(
            runs_days=self.keep_runs_days,
            # A deleted run takes its log with it.
            logs_days=min(self.keep_logs_days, self.keep_runs_days),
            artifacts_days=self.keep_artifacts_days,
            artifacts_bytes=self.keep_artifacts_mib * MIB,
            caches_days=self.keep_caches_days,
            caches_bytes=self.keep_caches_mib * MIB,
            runners_days=self.keep_runners_days,
        )

    def keeping(self) -> KeepingRule:
        """What a runner keeps of workspaces."""
        return KeepingRule(self.kept_hours * 3600.0, self.kept_mib * MIB)

    def stage_uid_range(self) -> tuple[int, int]:
        """First and last user id for workspaces."""
        first, _, last = self.stage_uids.partition("-")
        return int(first), int(last or first)


class _TomlSource(TomlConfigSettingsSource):
    """`rivet.toml` has the names of the environment variables, in either case."""

    def __call__(self) -> dict[str, object]:
        return {
            name.lower().removeprefix("rivet_"): value
            for name, value in self.toml_data.items()
            if name.lower().startswith("rivet_")
        }
