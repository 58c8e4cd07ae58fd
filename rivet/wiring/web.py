"""The API process's composition root: which adapter each verb and each page gets."""

import functools
import logging
import os
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import redis

from rivet.blobs.stored import StoredBlobs, open_blobs
from rivet.dispatch import Dispatch
from rivet.domain.errors import InvalidInput, RivetError, Unavailable
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.plan_ports import Rehearser
from rivet.engine.ports import Ids
from rivet.journal.lag import LagReader
from rivet.journal.tail import LiveTail, TailPublisher
from rivet.keyring import Keyring, Sealer, SecretVault, TicketSigner
from rivet.modules.plugins import plugin_names
from rivet.redis_link import connect
from rivet.sandbox.lua import NoChild, Zygote
from rivet.store.read_kept import KeptReads
from rivet.store.read_metrics import MetricReads
from rivet.store.read_records import RecordReads
from rivet.store.read_runs import RunReads
from rivet.store.read_stored import StoredReads
from rivet.store.sizes import SizeReads
from rivet.store.unit import PostgresStore
from rivet.telemetry.metrics import RUN_BOUNDS_S, STAGE_BOUNDS_S
from rivet.wiring.evaluator import LuaEvaluator
from rivet.wiring.ids import Uuid7
from rivet.wiring.outlet import Outlet
from rivet.wiring.schema import require_schema, require_schema_by, schema_state
from rivet.wiring.settings import Settings

_log = logging.getLogger(__name__)

POOL = 16
PING_S = 2.0
CONTROL_SILENT_S = 15.0


@dataclass
class Web:
    """What the API works with. `closing` is set when the process is asked to end."""

    settings: Settings
    store: PostgresStore
    runs: RunReads
    records: RecordReads
    stored: StoredReads
    kept: KeptReads
    measured: MetricReads
    sizes: SizeReads
    evaluator: Rehearser
    tickets: TicketSigner
    vault: SecretVault
    answers: Sealer
    ids: Ids
    blobs: StoredBlobs
    tail: LiveTail
    lags: LagReader
    streams: threading.BoundedSemaphore
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        """Where people find this API: as RIVET_URL says, else where it listens."""
        return self.settings.url.rstrip("/") or f"http://{self.settings.host}:{self.settings.port}"

    def host_names(self) -> frozenset[str]:
        """The names under which requests are taken."""
        named = {"localhost", "127.0.0.1", "::1", self.settings.host.lower()}
        configured = urlsplit(self.settings.url).hostname if self.settings.url else None
        return frozenset(named | ({configured.lower()} if configured else set()))

    def failing(self) -> dict[str, str]:
        """What this API needs and does not have just now, and why."""
        found: dict[str, str] = {}
        try:
            require_schema_by(self.store.engine)
            if not self.stored.has_beat("control", max(CONTROL_SILENT_S, 2 * self.settings.lease_seconds)):
                found["control"] = "no control part was heard of; start one with `rivet control`"
        except Unavailable as error:
            found["postgresql"] = error.message
        try:
            connect(self.settings.broker_url, timeout_s=PING_S).ping()
        except (redis.RedisError, OSError) as error:
            found["redis"] = f"Redis does not answer: {str(error)[:200]}"
        return found


def open_web(settings: Settings, *, threads: int) -> Web:
    """Wire everything, and beat from now on. `threads` is how many the server has for requests.

    PostgreSQL and Redis may be away: what needs them says so until they are back. Raises InvalidInput for
    settings that are missing, Unavailable for a database that is too old or for a missing Lua.
    """
    for name in ("database_url", "broker_url", "secret_key"):
        if not getattr(settings, name):
            raise InvalidInput(
                f"RIVET_{name.upper()} is not set; the API needs it (`rivet up` sets it for its own parts)"
            )
    keyring = Keyring(settings.secret_key)
    _refuse_old_schema(settings.database_url)
    zygote = Zygote()
    try:
        zygote.start()
    except NoChild as error:
        raise Unavailable(str(error)) from error
    outlet = Outlet(Dispatch(settings.broker_url), TailPublisher(settings.broker_url))
    store = PostgresStore(settings.database_url, outlet, POOL)
    outlet.store = store
    blobs = open_blobs(settings.artifacts_url, settings.home / "artifacts")
    web = Web(
        settings=settings,
        store=store,
        runs=RunReads(store.engine, settings.lease_seconds),
        records=RecordReads(store.engine, blobs),
        stored=StoredReads(store.engine),
        kept=KeptReads(store.engine),
        measured=MetricReads(store.engine, settings.lease_seconds, RUN_BOUNDS_S, STAGE_BOUNDS_S),
        sizes=SizeReads(store.engine),
        evaluator=LuaEvaluator(zygote, settings.time_limits(), plugin_names(settings.plugins)),
        tickets=keyring.tickets(),
        vault=keyring.vault(),
        answers=keyring.sealer("answers"),
        ids=Uuid7(),
        blobs=blobs,
        tail=LiveTail(settings.broker_url),
        lags=LagReader(settings.broker_url),
        streams=threading.BoundedSemaphore(max(1, threads * 3 // 4)),
    )
    outlet.expand = functools.partial(expand_matrices, store=store, evaluator=web.evaluator, ids=web.ids)
    threading.Thread(target=_beat, args=(web,), name="api-beat", daemon=True).start()
    return web


def _refuse_old_schema(database_url: str) -> None:
    try:
        state = schema_state(database_url)
    except Unavailable as error:
        _log.warning("%s", error.message)
        return
    if state.is_older:
        require_schema(database_url)


def _beat(web: Web) -> None:
    """Say every quarter of a lease that runners can renew: without it nobody is judged."""
    name = f"api-{socket.gethostname()}-{os.getpid()}"
    lease_s = web.settings.lease_seconds
    told = False
    while not web.closing.is_set():
        try:
            with web.store.begin() as tx:
                tx.parts.beat(name, lease_s / 2)
            told = False
        except RivetError as error:
            if not told:
                _log.warning("no beat: %s", error.message)
            told = True
        except Exception:  # noqa: BLE001 - a beat that ended would keep leases from being judged for good
            _log.exception("a beat failed")
        web.closing.wait(lease_s / 4)
