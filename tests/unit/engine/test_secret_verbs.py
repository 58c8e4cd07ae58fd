"""Setting secrets, and handing them to the runner that may have them: at that moment, and on the record."""

from dataclasses import replace

import pytest

from rivet.domain.errors import Conflict, Fenced, Forbidden, InvalidInput, NotFound
from rivet.domain.ids import Epoch, SessionId, StageKey
from rivet.domain.secret import Audience
from rivet.engine.delete_secret import delete_secret
from rivet.engine.hand_out_secret import hand_out_secret
from rivet.engine.list_secrets import list_secrets
from rivet.engine.set_secret import set_secret
from rivet.keyring import Keyring

VAULT = Keyring("k" * 32).vault()
EXAMPLE = Audience(("example",))


def put(store, name="TOKEN", value=b"plain text", audience=EXAMPLE, project="default"):
    return set_secret(project, name, value, audience, "alice", store=store, vault=VAULT)


def ask(system, name="TOKEN", vault=VAULT, **changed):
    """What the runner that holds the job of `system` is given."""
    job = system.store.job()
    asked = {"job": job.id, "epoch": job.epoch, "session": job.session, "stage": StageKey("one"), **changed}
    return hand_out_secret(
        asked["job"], asked["epoch"], asked["session"], name, asked["stage"], store=system.store, vault=vault
    )


def change_run(system, **changed):
    run = system.store.run()
    system.store.world.runs[run.id] = replace(run, **changed)


def test_the_holder_of_a_job_gets_the_value_and_the_run_s_records_name_it(running):
    system = running()
    put(system.store)
    assert ask(system) == b"plain text"
    event, told = system.store.world.records[system.store.run().id][-1]
    assert event == "secret_used"
    assert told == {"job": str(system.store.job().id), "epoch": 1, "stage": "one", "name": "TOKEN"}


def test_what_is_stored_does_not_hold_the_value(running):
    system = running()
    put(system.store)
    assert b"plain text" not in repr(system.store.world.secrets).encode()


def test_only_who_holds_the_job_in_this_epoch_gets_it(running):
    system = running()
    put(system.store)
    for changed in ({"epoch": Epoch(2)}, {"session": SessionId(system.store.run().id)}):
        with pytest.raises(Fenced):
            ask(system, **changed)
    system.perform("one")
    system.done()
    system.store.world.jobs[system.store.job().id] = replace(system.store.job(), status="passed")
    with pytest.raises(Fenced):
        ask(system)


def test_a_stage_that_the_job_has_not_is_not_recorded(running):
    system = running()
    put(system.store)
    ask(system, stage=StageKey("made up"))
    assert system.store.world.records[system.store.run().id][-1][1]["stage"] is None


def test_a_secret_that_is_not_there_is_told_with_the_command_and_the_nearest_that_is(running):
    system = running()
    put(system.store, "DEPLOY_TOKEN")
    put(system.store, "DEPLOY_TOKENS", audience=Audience(("other",)))
    with pytest.raises(NotFound, match=r'did you mean "DEPLOY_TOKEN".*rivet secret set DEPLOY_TOKENZ --pipeline'):
        ask(system, "DEPLOY_TOKENZ")
    with pytest.raises(NotFound) as caught:
        ask(system, "SOMETHING_ELSE")
    assert "TOKENS" not in caught.value.message


def test_a_grant_is_looked_at_when_the_secret_is_asked_for(running):
    system = running()
    put(system.store)
    ask(system)
    put(system.store, audience=Audience(("other",)))
    with pytest.raises(Forbidden, match="rivet secret set TOKEN --pipeline example"):
        ask(system)
    put(system.store, audience=Audience(all_pipelines=True))
    assert ask(system) == b"plain text"
    delete_secret("default", "TOKEN", store=system.store)
    with pytest.raises(NotFound):
        ask(system)


def test_branches_narrow_a_grant_also_for_runs_of_none(running):
    system = running()
    put(system.store, audience=Audience(("example",), ("release/*",)))
    with pytest.raises(Forbidden, match="this run is of no branch"):
        ask(system)
    change_run(system, facts={"branch": "main"})
    with pytest.raises(Forbidden, match='release/\\* alone, and this run is of the branch "main"'):
        ask(system)
    change_run(system, facts={"branch": "release/1"})
    assert ask(system) == b"plain text"


def test_the_pipeline_s_own_list_narrows_what_it_was_given(running):
    system = running()
    put(system.store)
    change_run(system, plan=replace(system.store.run().plan, secrets=("OTHER",)))
    with pytest.raises(Forbidden, match="not among the `secrets`"):
        ask(system)


def test_a_value_sealed_under_another_key_is_refused_in_words(running):
    system = running()
    put(system.store)
    with pytest.raises(Conflict, match="another RIVET_SECRET_KEY"):
        ask(system, vault=Keyring("x" * 32).vault())


def test_a_new_value_keeps_the_users_unless_others_are_given(system):
    system.start()
    assert put(system.store).created
    again = put(system.store, value=b"another", audience=None)
    assert not again.created
    assert again.secret.audience == EXAMPLE
    assert VAULT.open(again.secret.sealed, again.secret.project_id, "TOKEN") == b"another"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "token"}, "expected 1 to 100 capital letters"),
        ({"name": "A" * 101}, "expected 1 to 100 capital letters"),
        ({"value": b""}, "has 0 bytes"),
        ({"value": b"x" * 65537}, "has 65537 bytes"),
        ({"audience": None}, "nobody could use it"),
        ({"audience": Audience(branches=("main",))}, "nobody could use it"),
    ],
)
def test_what_cannot_be_a_secret_is_refused(system, changed, words):
    with pytest.raises(InvalidInput, match=words):
        put(system.store, **changed)


def test_any_bytes_are_a_value(system):
    value = bytes(range(256)) * 256
    kept = put(system.store, value=value).secret
    assert VAULT.open(kept.sealed, kept.project_id, "TOKEN") == value


def test_whoever_sets_a_secret_is_told_of_what_may_be_a_mistake(system):
    system.start()
    assert put(system.store).warnings == ()
    assert "cannot be masked" in put(system.store, value=b"abc").warnings[0]
    assert "not its encodings" in put(system.store, value=b"abcdef").warnings[0]
    assert 'no pipeline "exmaple" yet' in put(system.store, audience=Audience(("exmaple",))).warnings[0]


def test_secrets_are_listed_by_name_in_pages(system):
    for name in ("B", "A", "C"):
        put(system.store, name)
    first, following = list_secrets("default", after=None, limit=2, store=system.store)
    assert ([each.name for each in first], following) == (["A", "B"], "B")
    rest, following = list_secrets("default", after=following, limit=2, store=system.store)
    assert ([each.name for each in rest], following) == (["C"], None)


def test_there_is_nothing_in_an_unknown_project(system):
    with pytest.raises(NotFound, match='no project "nope"'):
        put(system.store, project="nope")
    with pytest.raises(NotFound, match='no project "nope"'):
        list_secrets("nope", after=None, limit=1, store=system.store)
    with pytest.raises(NotFound, match='no secret "TOKEN"'):
        delete_secret("default", "TOKEN", store=system.store)
