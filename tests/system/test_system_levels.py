"""Levels of isolation through the real system: a runner at `landlock`, one at `none`, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .contract_rows import SCRIPTS
from .rivet_home import RIVET, a_repository, git
from .second_runner import second_runner
from .test_system_contract import HEAD

PLAIN = "plain"
NO_NAMESPACES = Path(__file__).with_name("no_user_namespaces.py")
SERVE = "import socket; socket.create_server((\'127.0.0.1\', 0))"


@pytest.fixture(scope="module")
def home(make_home):
    """Its own runner is at `landlock`; a second one at `none` serves the queue `plain`."""
    landlock = make_home(environment={"RIVET_ISOLATION": "landlock"})
    with second_runner(landlock, PLAIN, RIVET_ISOLATION="none"):
        yield landlock


def one_stage(home, slug: str, script: str, fields: str = "") -> dict:
    """The run of a pipeline of one stage, when it has ended."""
    lua = f"""return {{ name = "{slug}", {fields} stages = {{ {{ name = "one", script = function() {script} end }} }} }}"""
    return home.finish(home.submit(slug, lua))


def test_every_function_of_the_language_works_at_landlock(home):
    source = a_repository(home.folder / "of-the-contract", {"a.txt": "a"})
    git(source, "tag", "v1.2.0")
    (source / "b.txt").write_text("b")
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "second")
    (home.folder / "secret").write_text("hidden-word")
    home.cli("secret", "set", "CONTRACT", "--all-pipelines", "--file", str(home.folder / "secret"))
    rows = {name: lua for name, lua in SCRIPTS.items() if not name.startswith("semver.")}
    # The workspace is where it is on the runner, at this level.
    rows["process.run"] = rows["process.run"].replace(
        'got.stdout == "in a $(no)\\n/workspace\\n"', 'got.stdout:find("^in a %$%(no%)\\n/.*/workspace\\n$")'
    )
    text = "\n".join(f'row("{name}", function() {lua} end)' for name, lua in rows.items())
    lua = f"{HEAD}{text.replace('URL', f'file://{source}')}\nend }} }} }})"
    run = home.finish(home.submit("contract-functions", lua, who="Ada", count=3, flag=True))
    lines = home.lines(run["id"])
    assert [line for line in lines if line.startswith("fails: ")] == [], lines
    assert {line.removeprefix("holds: ") for line in lines if line.startswith("holds: ")} == set(rows)
    assert (run["status"], run["isolation"]) == ("passed", "landlock")


def test_at_landlock_what_is_the_hosts_is_refused(home):
    (home.folder / "of-the-host").write_text("not for stages")
    script = f"""
      local got = process.run({{ command = "sh", args = {{ "-c", [[
        for f in {home.folder}/of-the-host /etc/shadow /proc/1/environ /proc/$PPID/environ; do cat $f && echo READ; done
        for f in /tmp/x /usr/x {home.folder}/x; do (echo x > $f) && echo WRITTEN; done
        ls {home.folder} /proc && echo LISTED
        env | grep RIVET_ | cut -d= -f1 | sort | tr '\\n' ' '
      ]] }}, check = false, capture = true }})
      log.info(got.stdout)
      log.info(select(2, pcall(process.run, {{ command = "/usr/bin/python3", args = {{ "-c", "{SERVE}" }} }})))
      log.info(select(2, pcall(process.start, {{ command = "sleep", args = {{ "20" }}, ready = {{ port = 8000 }} }})))
      process.run({{ command = "sh", args = {{ "-c", "setsid sleep 2718.28 > /dev/null 2>&1 & exit" }} }})
    """
    run = one_stage(home, "refused", script)
    said = "\n".join(home.lines(run["id"]))
    assert run["status"] == "passed", said
    assert not {"READ", "WRITTEN", "LISTED", "not for stages"} & set(said.split())
    assert "RIVET_PIPELINE RIVET_PROJECT RIVET_RUN_ID RIVET_RUN_NUMBER RIVET_STAGE RIVET_WORKSPACE \n" in said + "\n"
    assert said.count("At isolation landlock a stage has no loopback of its own") == 2
    assert "process.start: ready: port 8000 cannot be waited for" in said
    found = subprocess.run(["pgrep", "-f", "^sleep 2718.28"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_pipeline_that_asks_for_more_does_not_begin(home):
    run = one_stage(home, "asks-for-more", 'log.info("began")', 'isolation = "namespaces",')
    said = home.lines(run["id"])
    assert run["status"] == "errored"
    assert "began" not in said
    told = home.query(
        "SELECT error FROM attempt JOIN stage ON stage.id = attempt.stage_id WHERE stage.run_id = %s", run["id"]
    )
    assert 'accepts no isolation below "namespaces", and this runner has "landlock"' in told[0][0]["message"]
    fine = one_stage(home, "asks-for-this", 'log.info("began")', 'isolation = "landlock",')
    assert fine["status"] == "passed"


def test_at_none_a_pipeline_runs_and_is_told_so_loudly(home):
    (home.folder / "open").write_text("for everybody")
    script = f"""
      fs.write("f", "x")
      artifacts.upload({{ name = "f", path = "f" }})
      process.run({{ command = "cat", args = {{ "{home.folder}/open" }} }})
      process.start({{ command = "/usr/bin/python3", args = {{ "-m", "http.server", "0" }}, ready = {{ log = "Serving" }},
                      env = {{ PYTHONUNBUFFERED = "1" }} }})
    """
    run = one_stage(home, "at-none", script, f'queue = "{PLAIN}",')
    said = home.lines(run["id"])
    assert (run["status"], run["isolation"]) == ("passed", "none"), said
    assert said[0].startswith("isolation is none: nothing shuts this runner's stages in")
    assert "for everybody" in said
    loud = (home.folder / "second.log").read_text()
    assert "isolation is none: nothing shuts this runner's stages in" in loud
    more = one_stage(home, "not-none", 'log.info("began")', f'queue = "{PLAIN}", isolation = "landlock",')
    assert more["status"] == "errored"


def test_another_rivet_up_leaves_the_folder_open_that_stages_pass(home):
    home.cli("up", "--detach")
    assert one_stage(home, "after-up", 'process.run({ command = "true" })')["status"] == "passed"


def test_people_are_told_the_level_of_runners_and_runs(home):
    run = one_stage(home, "told", 'log.info("x")')
    assert "landlock" in home.cli("runs", "show", run["id"]).stdout
    runners = {one["name"]: one["isolation"] for one in json.loads(home.cli("runner", "list", "--json").stdout)["items"]}
    assert runners["second"] == "none"
    assert set(runners.values()) == {"landlock", "none"}
    doctor = home.cli("doctor").stdout
    assert "isolation: landlock: Landlock " in doctor
    assert "what landlock leaves open here: " in doctor


def third_runner(home, *, without_namespaces: bool = False, **settings: str) -> subprocess.Popen[str]:
    """Another one, of the queue `other`, as if on a machine of its own."""
    token = home.cli("runner", "token", "--queue", "other", "--name", "third").stdout.strip()
    known = home.told("runner")
    own = {"RIVET_TOKEN": token, "RIVET_HOME": str(home.folder / "third"), "RIVET_STAGE_UIDS": "212000-212999"}
    before = [sys.executable, str(NO_NAMESPACES)] if without_namespaces else []
    return subprocess.Popen(
        [*before, *RIVET, "runner", "start", "--name", "third", "--queue", "other"], env={**known, **own, **settings},
        cwd=home.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "why"),
    [("container", 'this version of Rivet has no level "container"'), ("vm", "expected one of auto, container")],
)
def test_a_runner_that_is_asked_for_what_is_not_there_does_not_start(home, asked, why):
    runner = third_runner(home, RIVET_ISOLATION=asked)
    said, _ = runner.communicate(timeout=60)
    assert runner.returncode != 0
    assert why in said


def test_on_a_machine_without_user_namespaces_auto_is_landlock_and_namespaces_do_not_start(home):
    refused = third_runner(home, without_namespaces=True, RIVET_ISOLATION="namespaces")
    said, _ = refused.communicate(timeout=60)
    assert refused.returncode != 0
    assert "stages cannot be shut in on this machine: namespaces: " in said
    assert "sysctl -w user.max_user_namespaces" in said
    runner = third_runner(home, without_namespaces=True, RIVET_ISOLATION="auto")
    try:
        run = one_stage(home, "wherever", 'process.run({ command = "id" })', 'queue = "other",')
        assert (run["status"], run["isolation"]) == ("passed", "landlock"), home.lines(run["id"])
    finally:
        runner.terminate()
        said, _ = runner.communicate(timeout=30)
    assert "stages are shut in at level landlock, since namespaces cannot be had: bubblewrap" in said
    assert "what landlock leaves open here: " in said
