"""The unit of work: what commits, what is told, and what an absent server looks like."""

import pytest
from sqlalchemy import text

from rivet.domain.errors import Unavailable
from rivet.domain.record import ControlEvent
from rivet.store.unit import PostgresStore


def test_nothing_of_a_transaction_that_raises_is_kept_or_told(told, a_run):
    planned = a_run()
    told.commits.clear()

    def fail_after_a_write():
        with told.store.begin() as tx:
            tx.jobs.begin(planned.job, "q:default")
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_a_write()
    assert told.commits == []
    with told.store.begin() as tx:
        assert tx.jobs.get(planned.job.id).status == "pending"


def test_what_is_told_after_a_commit_may_fail_without_harm(told, a_run):
    planned = a_run()

    def fail(committed):
        raise ConnectionError("the broker is away")

    told.store.on_commit = fail
    with told.store.begin() as tx:
        assert tx.jobs.begin(planned.job, "q:default") == 1
    with told.store.begin() as tx:
        assert tx.jobs.get(planned.job.id).status == "queued"


def test_a_commit_that_opens_nothing_is_not_told(told):
    told.commits.clear()
    with told.store.begin() as tx:
        tx.parts.beat("api-quiet", 1.0)
    assert told.commits == []


def test_cancelled_jobs_and_entries_are_told_in_one_piece(told, a_run):
    planned = a_run()
    told.commits.clear()
    with told.store.begin() as tx:
        tx.records.append(planned.run.id, [(ControlEvent.CANCEL_ASKED, {"actor": "bob"})])
        tx.tell_cancelled(planned.job)
    assert [entry.type for entry in told.commits[0].entries] == ["cancel_asked"]
    assert told.commits[0].cancelled == [(planned.job.id, planned.job.epoch, None)]


def test_an_absent_server_is_unavailable(tmp_path):
    store = PostgresStore(f"postgresql://rivet@/rivet?host={tmp_path}")
    with pytest.raises(Unavailable, match="PostgreSQL does not answer"), store.begin() as tx:
        tx.now()


def test_a_connection_that_is_ended_in_the_middle_is_unavailable_and_the_next_works(store):

    def lose_the_connection():
        with store.begin() as tx:
            tx.now()
            with store.engine.connect() as other:
                other.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE datname = current_database() AND pid <> pg_backend_pid()")
                )
            tx.parts.beat("api-x", 1.0)

    with pytest.raises(Unavailable):
        lose_the_connection()
    with store.begin() as tx:
        assert tx.now() is not None


def test_the_store_goes_on_after_the_server_was_killed_and_came_back(own_postgres):
    store = PostgresStore(own_postgres.dsn("postgres"))
    with store.begin() as tx:
        tx.now()
    own_postgres.stop(how=9)
    with pytest.raises(Unavailable), store.begin() as tx:
        tx.now()
    own_postgres.start()
    with store.begin() as tx:
        assert tx.now() is not None
    store.close()


def test_a_defect_of_ours_is_not_told_as_an_absent_server(store):
    with pytest.raises(Exception, match="nowhere") as raised, store.engine.begin() as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    assert not isinstance(raised.value, Unavailable)
