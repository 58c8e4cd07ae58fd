"""What the README tells a newcomer to type does what it says."""

import re
from pathlib import Path

from .conftest import Terminal

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_first_pipeline_of_the_readme_runs_as_written(terminal: Terminal) -> None:
    source = next(block for block in re.findall(r"```lua\n(.*?)```", README, re.DOTALL) if "First" in block)
    terminal.file("first.lua", source)
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    typed = next(block for block in blocks if "rivet run first.lua" in block)
    said = ""
    for line in typed.splitlines():
        arguments = line.partition("#  ")[0].partition("   #")[0].split()
        assert arguments[0] == "rivet"
        done = terminal.rivet(*arguments[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said += done.stdout
    assert "  | Hello, Ada" in said
    assert "  | 42" in said
    assert "passed first#1" in said
