"""`rivet run FILE --folder`: a run starts from the folder as it is, changes that nobody committed included."""

import hashlib
import io

import zstandard

from tests.system.rivet_home import a_repository

PIPELINE = """
pipeline = { name = "Here", stages = {
  { name = "see", script = function()
      log.info(fs.read("src/greeting.txt"))
      process.run({ command = "./greet.sh" })
      log.info("ignored is " .. (fs.exists("noise.log") and "there" or "not there"))
      fs.write("made", "x")
  end },
  { name = "on", script = function() log.info("made is " .. fs.read("made")) end },
  { name = "copies", matrix = { n = { 1, 2 } }, script = function() log.info("inherits " .. fs.read("made")) end },
  { name = "anew", needs = {}, script = function()
      log.info("anew " .. fs.read("src/greeting.txt") .. (fs.exists("made") and " made" or " alone"))
  end },
} }
"""


def test_a_run_starts_from_a_work_tree_with_what_is_not_committed(system):
    repository = a_repository(
        system.folder / "worktree",
        {"src/greeting.txt": "committed", "greet.sh": "#!/bin/sh\necho from a script\n", ".gitignore": "*.log\n"},
    )
    (repository / "greet.sh").chmod(0o755)
    (repository / "src" / "greeting.txt").write_text("changed")
    (repository / "noise.log").write_text("x")
    file = system.file("here", PIPELINE)
    done = system.cli("run", file, "--folder", str(repository))
    assert done.returncode == 0, done.stderr + done.stdout
    said = [line.removeprefix("  | ") for line in done.stdout.splitlines() if line.startswith("  | ")]
    for line in ("changed", "from a script", "ignored is not there", "made is x", "anew changed alone"):
        assert line in said, said
    assert said.count("inherits x") == 2
    kept = system.query("SELECT count(*) FROM folder")
    assert system.cli("run", file, "--folder", str(repository)).returncode == 0
    assert system.query("SELECT count(*) FROM folder") == kept


def test_a_folder_that_cannot_be_unpacked_ends_its_run_with_the_reason(system):
    sent = zstandard.ZstdCompressor().compress(io.BytesIO(b"no tar" * 500).getvalue())
    digest = hashlib.sha256(sent).hexdigest()
    system.client.upload(f"/projects/default/folders/{digest}", lambda: [sent], len(sent), "application/octet-stream")
    stages = '{ { name = "a", script = function() log.info("ran") end } }'
    source = f'pipeline = {{ name = "Broken folder", stages = {stages} }}'
    path = "/projects/default/pipelines/broken-folder/runs"
    run = system.finish(system.client.call("POST", path, {"source": source, "folder": digest})["id"])
    assert run["status"] == "errored"
    assert "folder: " in run["stages"][0]["attempts"][0]["error"]["message"]
    assert "ran" not in system.lines(run["id"])
