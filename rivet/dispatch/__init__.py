"""Publish jobs and their chains to the broker, by the names of tasks: no task is imported here.

Ids are the same however often a thing is published, and messages carry ids alone.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

import redis
from celery import Celery, signature
from kombu.entity import Exchange
from kombu.exceptions import OperationalError

from rivet.dispatch.sent_events import gather_sent_events, name_of_stage
from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.order import PROTOCOL
from rivet.domain.runner import own_queue_of
from rivet.engine.ports import Queued
from rivet.kombu_clients import share_clients
from rivet.redis_link import ack_of, cancel_key, connect, stream_of

TAKE_JOB = "rivet.take_job"
RUN_STAGE = "rivet.run_stage"
SETTLE_JOB = "rivet.settle_job"

GENERATION_KEY = "rivet:generation"
CANCEL_KEPT_S = 6 * 3600


def worker_app() -> Celery:
    """The app of runners and control, with the settings of `celeryconfig`; it knows no task by itself."""
    return plain_queues(Celery("rivet", config_source="celeryconfig"))


def plain_queues(app: Celery) -> Celery:
    """Make every queue of the app a Redis list of its own name, without binding keys."""
    share_clients()
    app.amqp.autoexchange = _default_exchange
    return app


def _default_exchange(_name: str, _type: str | None = None) -> Exchange:
    return Exchange("")  # type: ignore[no-untyped-call]


def impatient_app(broker_url: str) -> Celery:
    """The app of those who publish beside other duties: it gives up within seconds, and they try again."""
    return plain_queues(
        Celery(
            "rivet-dispatch",
            broker=broker_url,
            set_as_current=False,
            changes={
                "task_create_missing_queues": True,
                "task_ignore_result": True,
                "task_send_sent_event": True,
                "task_publish_retry_policy": {"max_retries": 3, "interval_max": 0.2},
                "broker_transport_options": {"socket_timeout": 5, "socket_connect_timeout": 5},
                "broker_connection_timeout": 5,
            },
        )
    )


class Dispatch:
    """The broker as publishers and upkeep need it. Raises Unavailable where Redis does not answer."""

    def __init__(self, broker_url: str) -> None:
        self._app = impatient_app(broker_url)
        gather_sent_events(self._app)
        self._redis = connect(broker_url)

    def publish(self, queued: Queued) -> None:
        """Publish `take_job` of a queued job; as often as one likes, for the claim lets one through."""
        try:
            self._app.send_task(
                TAKE_JOB,
                args=[str(queued.job_id), queued.epoch, PROTOCOL],
                task_id=f"t:{queued.job_id}:{queued.epoch}",
                queue=queued.queue,
                ignore_result=True,
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise Unavailable(f"the broker took no job: {error}") from error

    def generation(self) -> str:
        try:
            self._redis.set(GENERATION_KEY, uuid4().hex, nx=True)
            key: Any = self._redis.get(GENERATION_KEY)
            server: Any = self._redis.info("server")
        except redis.RedisError as error:
            raise Unavailable(f"the broker does not tell its generation: {error}") from error
        return f"{key.decode()}:{server['run_id']}"

    def waiting(self, queue: str, runners: Collection[str]) -> int:
        """The list's length, and what those runners took from it and have not acknowledged.

        The name of the list that a message was taken from is the last that kombu keeps with it.
        """
        try:
            length: Any = self._redis.llen(queue)
            pipe = self._redis.pipeline(transaction=False)
            for runner in runners:
                pipe.hvals(f"unacked:{runner}")
            held = [json.loads(message)[-1] for messages in pipe.execute() for message in messages]
        except redis.RedisError as error:
            raise Unavailable(f"the broker does not tell the length of {queue}: {error}") from error
        return int(length) + held.count(queue)

    def delete_queue(self, queue: str) -> None:
        try:
            self._redis.delete(queue)
        except redis.RedisError as error:
            raise Unavailable(f"the broker does not delete {queue}: {error}") from error

    def forget_runner(self, runner: str) -> None:
        """Delete every key of a runner that is gone for good."""
        own = [f"{kind}:{runner}" for kind in ("unacked", "unacked_index", "unacked_mutex")]
        try:
            self._redis.delete(own_queue_of(runner), stream_of(runner), ack_of(runner), *own)
        except redis.RedisError as error:
            raise Unavailable(f"the broker does not forget runner {runner}: {error}") from error

    def tell_cancelled(self, job: JobId, epoch: Epoch, stage: StageKey | None = None) -> None:
        """Set the key that the supervisor of the job in that epoch watches: of all of it, or of one stage."""
        try:
            self._redis.set(cancel_key(job, stage), epoch, ex=CANCEL_KEPT_S)
        except redis.RedisError as error:
            raise Unavailable(f"the broker took no cancellation: {error}") from error


def publish_chain(
    app: Celery, job: JobId, epoch: Epoch, stages: Sequence[tuple[StageKey, str]], *, queue: str, label: str
) -> None:
    """Publish `run_stage … run_stage → settle_job` to a runner's own queue.

    `stages` are keys and names in order; `label` names the run where people look (Flower). Raises
    Unavailable where the broker takes nothing for longer than the app's patience.
    """
    (first, name), *rest = stages
    settle = signature(
        SETTLE_JOB,
        args=(str(job), epoch),
        app=app,
        task_id=f"e:{job}:{epoch}",
        queue="control",
        argsrepr=f"({label!r},)",
        kwargsrepr="{}",
    )
    # Celery puts what the link before returned in front of the arguments of every link but the first, and
    # takes what follows from the list's end. Its own `chain` makes the same message for half as much again.
    links = [
        signature(
            RUN_STAGE,
            args=(str(job), epoch, key),
            app=app,
            queue=queue,
            **_told(job, epoch, key, label, name),
        )
        for key, name in rest
    ]
    try:
        app.send_task(
            RUN_STAGE,
            args=(None, str(job), epoch, first),
            queue=queue,
            chain=[settle, *reversed(links)],
            ignore_result=False,
            **_told(job, epoch, first, label, name),
        )
    except (OperationalError, redis.RedisError, OSError) as error:
        raise Unavailable(f"the broker took no chain: {error}") from error


def _told(job: JobId, epoch: Epoch, key: StageKey, label: str, name: str) -> dict[str, str]:
    """The id of a stage's link, and what Flower shows of it."""
    return {
        "task_id": f"s:{job}:{epoch}:{key}",
        "shadow": name_of_stage(key),
        "argsrepr": f"({label!r}, {name!r})",
        "kwargsrepr": "{}",
    }
