"""The message that a job's chain is, as it lies in a real Redis."""

import base64
import json
from uuid import UUID

import redis
from celery import Celery

from rivet.dispatch import plain_queues, publish_chain
from rivet.domain.ids import Epoch, JobId, StageKey

JOB = JobId(UUID(int=7))


def test_a_chain_is_its_first_link_and_what_follows_from_the_lists_end(redis_url):
    app = plain_queues(Celery("chains", broker=redis_url, set_as_current=False))
    app.conf.task_create_missing_queues = True
    stages = [(StageKey(key), key.upper()) for key in ("a", "b", "c")]
    publish_chain(app, JOB, Epoch(2), stages, queue="own:here", label="hello#1")
    [raw] = redis.Redis.from_url(redis_url).lrange("own:here", 0, -1)
    message = json.loads(raw)
    arguments, _, more = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["id"], arguments) == (f"s:{JOB}:2:a", [None, str(JOB), 2, "a"])
    assert message["headers"]["argsrepr"] == "('hello#1', 'A')"
    assert message["headers"]["ignore_result"] is False
    following = [(link["task"], link["options"]["task_id"], link["args"]) for link in reversed(more["chain"])]
    assert following == [
        ("rivet.run_stage", f"s:{JOB}:2:b", [str(JOB), 2, "b"]),
        ("rivet.run_stage", f"s:{JOB}:2:c", [str(JOB), 2, "c"]),
        ("rivet.settle_job", f"e:{JOB}:2", [str(JOB), 2]),
    ]
    assert [link["options"]["queue"] for link in reversed(more["chain"])] == ["own:here", "own:here", "control"]
