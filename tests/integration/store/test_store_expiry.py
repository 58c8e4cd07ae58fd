"""What is over its time goes, by age, number and size; what is wanted stays."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.cache import Shelf
from rivet.domain.ids import RunId, StageKey
from rivet.engine.drop_caches import drop_caches
from rivet.engine.drop_old_runs import drop_old_runs
from rivet.engine.expire_artifacts import expire_artifacts
from rivet.engine.forget_runners import forget_runners
from rivet.store.tables import METADATA
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)
MANY = 10**15


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def runs_of(store):
    def make(*days_ago: float, **told) -> list[RunId]:
        with store.engine.begin() as connection:
            return [RunId(run) for run in make_runs(connection, [ago(days) for days in days_ago], **told)]

    return make


@pytest.fixture
def left(store):
    def which(runs) -> list[bool]:
        with store.begin() as tx:
            return [tx.runs.get(run) is not None for run in runs]

    return which


def test_runs_go_by_age_and_the_last_that_passed_and_what_goes_on_stay(store, runs_of, left):
    passed = runs_of(500, 450, 400, pipeline="aged")
    failed = runs_of(380, pipeline="aged", status="failed")
    going_on = runs_of(600, pipeline="aged", status="waiting")
    young = runs_of(10, pipeline="aged", status="failed")
    assert drop_old_runs(365, store=store, now=NOW) == 3
    assert left([*passed, *failed, *going_on, *young]) == [False, False, True, False, True, True]
    assert drop_old_runs(365, store=store, now=NOW) == 0


def test_a_run_takes_everything_with_it(store, runs_of):
    gone = runs_of(500, 480, pipeline="whole")[0]
    assert drop_old_runs(365, store=store, now=NOW) == 1
    with store.engine.connect() as connection:
        of_run = [table.name for table in METADATA.sorted_tables if "run_id" in table.c]
        assert len(of_run) > 6
        for name in of_run:
            counted = text(f"SELECT count(*) FROM {name} WHERE run_id = :run")
            assert connection.execute(counted, {"run": gone}).scalar_one() == 0, name
        orphans = "SELECT count(*) FROM attempt WHERE NOT EXISTS (SELECT FROM stage WHERE id = stage_id)"
        assert connection.execute(text(orphans)).scalar_one() == 0


def test_a_pipeline_may_keep_fewer_runs_or_for_less_long(store, runs_of, left):
    few = runs_of(6, 5, 4, 3, 2, 1, pipeline="few", status="failed")
    short = runs_of(40, 30, 10, pipeline="short", status="failed")
    others = runs_of(40, 30, pipeline="others", status="failed")
    with store.begin() as tx:
        project = tx.pipelines.project("default").id
        assert tx.pipelines.bound(tx.pipelines.get(project, "few").id, None, 2)
        assert tx.pipelines.bound(tx.pipelines.get(project, "short").id, 20, None)
    assert drop_old_runs(365, store=store, now=NOW) == 6
    assert left(few) == [False] * 4 + [True] * 2
    assert left(short) == [False, False, True]
    assert left(others) == [True, True]


def test_many_go_in_batches(store, runs_of):
    runs_of(*(700 + n / 100 for n in range(450)), pipeline="many", status="failed")
    assert drop_old_runs(600, store=store, now=NOW) == 450


def a_blob(store, project, size, at):
    digest = hashlib.sha256(f"{size} {at}".encode()).hexdigest()
    with store.begin() as tx:
        return tx.blobs.add(project, Manifest(size, digest, (digest,)))


@pytest.fixture
def keep(store):
    """Have a run keep an artifact of that many bytes, as long ago as the run."""

    def put(run: RunId, name: str, size: int) -> None:
        with store.begin() as tx:
            of = tx.runs.get(run)
        blob = a_blob(store, of.project_id, size, f"{run} {name}")
        contents = Contents("file", name, "", 1, Manifest(size, "0" * 64, ()))
        with store.begin() as tx:
            assert tx.artifacts.put(run, name, StageKey("build"), 1, contents, blob)
        with store.engine.begin() as connection:
            connection.execute(
                text("UPDATE artifact SET created_at = :at WHERE run_id = :run"), {"at": of.created_at, "run": run}
            )

    return put


@pytest.fixture
def expired(store):
    def when(run: RunId, name: str) -> datetime | None:
        with store.begin() as tx:
            is_there, at = tx.artifacts.get(run, name) is not None, tx.artifacts.expired_at(run, name)
        assert is_there == (at is None)
        return at

    return when


def test_artifacts_expire_by_age_but_for_those_of_the_last_run_that_passed(store, runs_of, keep, expired):
    old, last = runs_of(60, 50, pipeline="art")
    failed = runs_of(40, pipeline="art", status="failed")[0]
    young = runs_of(3, pipeline="art", status="failed")[0]
    going_on = runs_of(90, pipeline="art", status="waiting")[0]
    for run in (old, last, failed, young, going_on):
        keep(run, "wheel", 10)
    assert expire_artifacts(30, MANY, store=store, now=NOW) == 2
    assert [expired(run, "wheel") for run in (old, last, failed, young, going_on)] == [NOW, None, NOW, None, None]
    with store.begin() as tx:
        assert tx.blobs.forget_unused(-60, None, 1000)[0] >= 2


def test_artifacts_expire_by_size_oldest_first(store, runs_of, keep, expired):
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM artifact"))
    runs = runs_of(9, 8, 7, 6, pipeline="large")
    for run in runs:
        keep(run, "image", 1000)
    assert expire_artifacts(30, 2500, store=store, now=NOW) == 2
    assert [expired(run, "image") is None for run in runs] == [False, False, True, True]


def test_by_size_all_are_looked_at_a_page_at_a_time_each_project_by_itself(store, runs_of, keep, expired, monkeypatch):
    monkeypatch.setattr("rivet.engine.expire_artifacts.BATCH", 2)
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM artifact"))
    mine, going_on = runs_of(9, 8, 7, 6, 5, pipeline="pages"), runs_of(10, pipeline="pages", status="waiting")[0]
    with store.begin() as tx:
        assert tx.projects.add("beside")
    theirs = runs_of(9.5, 8.5, pipeline="beside")
    with store.engine.begin() as connection:
        connection.execute(
            text("UPDATE run SET project_id = (SELECT id FROM project WHERE slug = 'beside') WHERE id = ANY (:runs)"),
            {"runs": theirs},
        )
    for run in (*mine, going_on, *theirs):
        keep(run, "image", 1000)
    assert expire_artifacts(30, 2000, store=store, now=NOW) == 3
    assert [expired(run, "image") is None for run in mine] == [False, False, False, True, True]
    assert expired(going_on, "image") is None
    assert [expired(run, "image") is None for run in theirs] == [True, True]


def test_caches_go_by_last_use_and_by_size(store, runs_of):
    run = runs_of(1, pipeline="cached")[0]
    with store.begin() as tx:
        of = tx.runs.get(run)
        shelf = Shelf(of.project_id, of.pipeline_id, "")
    for days, key in ((50, "old"), (3, "third"), (2, "second"), (1, "first")):
        blob = a_blob(store, of.project_id, 1000, key)
        with store.begin() as tx:
            assert tx.caches.add(shelf, key, Contents("tar", "c.tar", "", 1, Manifest(1000, "0" * 64, ())), blob)
        with store.engine.begin() as connection:
            used = text("UPDATE cache SET used_at = :at WHERE key = :key")
            connection.execute(used, {"at": ago(days), "key": key})

    def there():
        with store.engine.connect() as connection:
            return connection.execute(text("SELECT key FROM cache ORDER BY used_at")).scalars().all()

    assert drop_caches(30, MANY, store=store, now=NOW) == 1
    assert there() == ["third", "second", "first"]
    assert drop_caches(30, 2500, store=store, now=NOW) == 1
    assert there() == ["second", "first"]


def test_unpublished_versions_go_when_their_last_run_has(store, runs_of, left):
    run = runs_of(500, pipeline="tried", status="failed", published=False)[0]
    runs_of(500, pipeline="published", status="failed")

    def versions(slug):
        asked = "SELECT count(*) FROM version JOIN pipeline ON pipeline.id = pipeline_id WHERE slug = :slug"
        with store.engine.connect() as connection:
            return connection.execute(text(asked), {"slug": slug}).scalar_one()

    with store.begin() as tx:
        assert tx.expiry.drop_versions(ago(1), 100) == 0
    drop_old_runs(365, store=store, now=NOW)
    assert left([run]) == [False]
    with store.begin() as tx:
        assert tx.expiry.drop_versions(ago(1), 100) == 1
    assert (versions("tried"), versions("published")) == (0, 1)


def test_folders_go_a_day_after_their_last_use_unless_a_run_needs_them(store, runs_of):
    ended = runs_of(3, pipeline="foldered")[0]
    going_on = runs_of(3, pipeline="foldered", status="waiting")[0]
    with store.begin() as tx:
        project = tx.runs.get(ended).project_id
    for digest, run in (("aa" * 32, ended), ("bb" * 32, going_on), ("cc" * 32, None)):
        blob = a_blob(store, project, 10, digest)
        with store.begin() as tx:
            tx.folders.add(project, digest, blob)
        with store.engine.begin() as connection:
            connection.execute(
                text("UPDATE folder SET used_at = :at WHERE sha256 = :digest"),
                {"at": ago(2), "digest": bytes.fromhex(digest)},
            )
            connection.execute(
                text("UPDATE run SET folder = :digest WHERE id = :run"),
                {"digest": bytes.fromhex(digest), "run": run},
            )
    with store.begin() as tx:
        assert tx.expiry.drop_folders(ago(1), 100) == 2
        assert [tx.folders.get(project, digest * 32) is not None for digest in ("aa", "bb", "cc")] == [False, True, False]
        assert tx.runs.get(ended).folder == "aa" * 32


def test_runners_that_are_gone_for_long_are_forgotten(store, a_runner):
    names = [a_runner().name for _ in range(3)]
    with store.engine.begin() as connection:
        gone = text("UPDATE runner SET status = :status, seen_at = :at WHERE name = :name")
        connection.execute(gone, {"status": "offline", "at": ago(31), "name": names[0]})
        connection.execute(gone, {"status": "offline", "at": ago(29), "name": names[1]})
        connection.execute(gone, {"status": "online", "at": ago(31), "name": names[2]})
    assert forget_runners(30, store=store, now=NOW) == [names[0]]
