"""The documentation is complete: settings, commands, links, and what the Makefile offers."""

import re
from pathlib import Path

import pytest

from rivet import __version__
from rivet.cli import COMMANDS
from rivet.wiring.settings import Settings

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert f"`RIVET_{name.upper()}`" in README


def test_no_setting_in_the_readme_is_made_up() -> None:
    known = {f"RIVET_{name.upper()}" for name in Settings.model_fields} | {"RIVET_CONFIG"}
    assert set(re.findall(r"`(RIVET_[A-Z_]+)`", README)) <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`rivet {name}" in README


def test_the_readme_s_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_checkout_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_glossary_has_one_word_once() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    said = [word for word in words if word not in ("word", "---")]
    assert len(said) == len(set(said))


def test_the_lock_names_no_server_and_no_folder_of_a_machine() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|@ file|/home/|/root/", lock)
    pinned = re.findall(r"^([a-z0-9.-]+)(\S*)", lock, re.MULTILINE)
    assert all(version.startswith("==") for _, version in pinned)


def test_every_dependency_is_in_the_lock() -> None:
    from configparser import ConfigParser

    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"] + setup["options.extras_require"]["dev"]
    names = {re.split(r"[\s\[<>=]", line.strip())[0] for line in wanted.splitlines() if line.strip()}
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {name.replace("_", "-").lower() for name in names} <= pinned
