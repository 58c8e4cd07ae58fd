"""RIVET_HOME: private, and with secrets that are made once."""

import os
import stat
from pathlib import Path

import pytest

from rivet.local.home import LONGEST_SOCKET_FOLDER, Home, HomeUnusable, kept_secret, private_folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home")
    home.prepare()
    assert {mode_of(folder) for folder in (home.path, home.logs, home.redis, home.secret_key.parent)} == {
        0o700
    }


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    assert mode_of(folder) == 0o700


def test_a_home_that_stages_may_pass_stays_so_and_what_is_in_it_is_private(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    for mode, kept in ((0o711, 0o711), (0o700, 0o700), (0o755, 0o700)):
        home.path.chmod(mode)
        home.prepare()
        assert mode_of(home.path) == kept
    for name in ("keys", "tokens", "logs", "redis"):
        (home.path / name).chmod(0o711)
        home.prepare()
        assert mode_of(home.path / name) == 0o700


def test_a_file_where_a_folder_is_needed_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeUnusable, match="is a file, and a folder is needed there; see RIVET_HOME"):
        Home(tmp_path / "home").prepare()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = Path("/usr")
    if os.geteuid() == 0:
        folder = tmp_path / "theirs"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
    with pytest.raises(HomeUnusable, match="belongs to user id"):
        private_folder(folder)


def test_a_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    made = kept_secret(file)
    assert len(made) >= 40
    assert kept_secret(file) == made
    assert file.read_text() == made + "\n"
    assert mode_of(file) == 0o600


def test_sockets_lie_in_the_home_where_its_path_is_short_enough(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    home.prepare()
    assert home.socket_folder() == home.path / "run"


def test_sockets_of_a_deep_home_lie_elsewhere_but_private(tmp_path: Path) -> None:
    home = Home(tmp_path / ("deep" * 30))
    home.prepare()
    folder = home.socket_folder()
    try:
        assert len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER
        assert mode_of(folder) == 0o700
        assert home.socket_folder() == folder
    finally:
        folder.rmdir()
