"""Every limit of a stage, lowered by its pipeline and run into by a real stage: how it ends, and what it says."""

import pytest

FILE_HOG = """process.run({ command = "python3", args = { "-c", [[
import os
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(500)]
]] } })"""
FORK_BOMB = """process.run({ command = "python3", args = { "-c", [[
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        time.sleep(0.01)
]] } })"""
MEMORY_HOG = """process.run({ command = "python3", args = { "-c", [[
import time
held = bytearray(300 << 20)
time.sleep(60)
]] } })"""

CASES = {
    "memory": ('"8MiB"', "local t = {} while true do t[#t + 1] = string.rep('x', 100000) end", "limit_memory"),
    "cpu": ("1", "while true do end", "limit_cpu"),
    "processes": ("32", FORK_BOMB, "limit_processes"),
    "process_memory": ('"128MiB"', MEMORY_HOG, "limit_process_memory"),
    "open_files": ("64", FILE_HOG, "limit_open_files"),
    "workspace": ('"5MiB"', 'fs.write("a", ("x"):rep(4000000)) fs.copy("a", "b")', "limit_workspace"),
    "log_bytes": ('"1MiB"', 'process.run({ command = "yes", args = { ("x"):rep(1000) } })', "limit_output"),
    "log_lines": ("100", 'while true do log.info("on and on") end', "limit_output"),
    "frame": ('"64KiB"', 'output.set("much", ("x"):rep(65536))', "limit_frame"),
    "calls": ("50", "while true do json.encode({}) end", "limit_calls"),
}


@pytest.fixture(scope="module")
def ended(system):
    """A run for each limit, all of them at once."""
    runs = {}
    for name, (amount, script, _) in CASES.items():
        slug = f"limit-{name.replace('_', '-')}"
        lua = f"""return {{ name = "{slug}", limits = {{ {name} = {amount} }}, stages = {{ {{
          name = "over", timeout = "50s", script = function()
          {script}
          end }} }} }}"""
        runs[name] = system.submit(slug, lua)
    return {name: system.finish(run) for name, run in runs.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_stage_that_goes_over_a_limit_ends_with_its_own_reason(ended, name):
    run = ended[name]
    stage = run["stages"][0]
    assert (stage["status"], stage["reason"]) == ("failed", CASES[name][2]), stage["attempts"]
    assert run["status"] == "failed"


def test_the_error_names_the_limit_the_amount_and_who_can_allow_more(ended, system):
    run = ended["process_memory"]
    lines = "\n".join(system.lines(run["id"]))
    assert "over its limit of 128 MiB for memory of its processes together, and it came to " in lines
    assert "limits.process_memory in the pipeline sets it, and the runner's operator its maximum " in lines
    assert "RIVET_MAX_PROCESS_MIB" in lines


def test_output_that_is_cut_says_so_and_nothing_comes_after_but_why(ended, system):
    lines = system.lines(ended["log_lines"]["id"])
    assert lines[98:100] == ["on and on", "[the rest of this stage's output is over the limit and was cut]"]
    assert len(lines) == 101
    assert "limit of 100 for lines of output" in lines[100]


def test_a_pipeline_cannot_raise_what_the_operator_allows(system):
    lua = """return { name = "limit-raised", limits = { open_files = 500000 }, stages = { { name = "look",
      script = function() process.run({ command = "sh", args = { "-c", "ulimit -n" } }) end } } }"""
    run = system.finish(system.submit("limit-raised", lua))
    lines = system.lines(run["id"])
    assert lines == [
        "limits.open_files: 500000 is more than this runner allows; it stays at 4096 (RIVET_MAX_OPEN_FILES)",
        "4096",
    ]
