"""A POST that is sent again under its Idempotency-Key is carried out once."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from rivet.domain.ids import RunId
from rivet.engine.forget_answers import forget_answers
from tests.integration.api.conftest import TWO_STAGES

RUNS = "/projects/default/pipelines/demo/runs"
BODY = {"source": TWO_STAGES, "inputs": {"who": "me"}}


@pytest.fixture
def key():
    return str(uuid.uuid4())


def count(api):
    return len(api.ask("GET", "/runs?pipeline=demo&limit=500").json["items"])


def test_the_same_request_again_is_answered_as_before_and_starts_nothing(api, key):
    first = api.ask("POST", RUNS, BODY, Idempotency_Key=key)
    before = count(api)
    api.ask("POST", f"/runs/{first.json['id']}/cancel")
    other_spelling = dict(reversed(BODY.items()))
    again = api.ask("POST", RUNS, other_spelling, Idempotency_Key=key)
    assert (first.status, again.status) == (202, 202)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert count(api) == before


def test_a_run_under_a_key_begins_as_any_other_does(api, key, store):
    run = RunId(uuid.UUID(api.ask("POST", RUNS, BODY, Idempotency_Key=key).json["id"]))
    with store.begin() as tx:
        first = tx.jobs.of_run(run)[0]
    assert (first.status, first.epoch) == ("queued", 1)


def test_another_request_under_the_same_key_is_refused(api, key):
    api.ask("POST", RUNS, BODY, Idempotency_Key=key)
    for path, body in ((RUNS, BODY | {"inputs": {"who": "you"}}), ("/runners/tokens", {"queues": ["x"]})):
        refused = api.ask("POST", path, body, Idempotency_Key=key)
        assert (refused.status, refused.json["code"]) == (422, "key_reused")
        assert key in refused.json["detail"]


def test_what_was_refused_changed_nothing_and_may_be_asked_anew(api, key):
    wrong = api.ask("POST", RUNS, BODY | {"inputs": {"whom": "me"}}, Idempotency_Key=key)
    assert wrong.status == 422
    assert api.ask("POST", RUNS, BODY, Idempotency_Key=key).status == 202


def test_of_eight_at_once_one_is_carried_out(api, key):
    before = count(api)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", RUNS, BODY, Idempotency_Key=key), range(8)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert count(api) == before + 1


def test_a_run_whose_answer_was_never_noted_is_not_started_twice(api, key, store):
    first = api.ask("POST", RUNS, BODY, Idempotency_Key=key).json
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE answered SET answer = NULL, begun_at = now() - interval '31 s' WHERE key = %s", (key,)
        )
    again = api.ask("POST", RUNS, BODY, Idempotency_Key=key).json
    assert (again["id"], again["number"]) == (first["id"], first["number"])


def test_a_request_that_is_still_being_answered_is_not_begun_again(api, key, store):
    api.ask("POST", RUNS, BODY, Idempotency_Key=key)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE answered SET answer = NULL WHERE key = %s", (key,))
    refused = api.ask("POST", RUNS, BODY, Idempotency_Key=key)
    assert (refused.status, refused.json["code"]) == (409, "in_progress")
    assert int(refused.headers["Retry-After"]) > 0


def test_each_token_has_keys_of_its_own_and_an_answer_is_kept_sealed(api, key, store):
    made = api.ask("POST", "/runners/tokens", {"queues": ["gpu"]}, Idempotency_Key=key)
    again = api.ask("POST", "/runners/tokens", {"queues": ["gpu"]}, Idempotency_Key=key)
    assert again.json["token"] == made.json["token"]
    with store.engine.begin() as connection:
        kept = connection.exec_driver_sql("SELECT answer FROM answered WHERE key = %s", (key,)).scalar_one()
    assert made.json["token"].encode() not in bytes(kept)


def test_after_a_day_the_key_is_forgotten(api, key, store):
    first = api.ask("POST", RUNS, BODY, Idempotency_Key=key).json
    old = "UPDATE answered SET created_at = now() - interval '24 h 1 s' WHERE key = %s"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(old, (key,))
    assert api.ask("POST", RUNS, BODY, Idempotency_Key=key).json["id"] != first["id"]
    with store.engine.begin() as connection:
        connection.exec_driver_sql(old, (key,))
    forget_answers(store=store)
    with store.engine.begin() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM answered WHERE key = %s", (key,)).scalar_one()
    assert left == 0


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 256])
def test_a_key_that_is_none_is_refused(api, wrong):
    refused = api.ask("POST", RUNS, BODY, Idempotency_Key=wrong)
    assert (refused.status, refused.json["code"]) == (422, "invalid_input")
