"""What the parts are told, and above all what they are not."""

from pathlib import Path

import pytest

from rivet.local.environment import (
    Addresses,
    flower_environment,
    plain_environment,
    runner_environment,
    server_environment,
)
from rivet.local.home import Home
from rivet.wiring.settings import Settings

ADDRESSES = Addresses(
    "db-secret", "redis://:broker@127.0.0.1:1/0", "key-secret", "runner-token", "pw", 8080, 5555
)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("RIVET_DATABASE_URL", "from-outside")
    monkeypatch.setenv("RIVET_TOKEN", "of-the-user")
    monkeypatch.setenv("PATH", "/usr/bin")
    return plain_environment(Settings(), Home(Path("/h")))


def test_nothing_of_the_user_s_own_settings_goes_through_unseen(plain: dict[str, str]) -> None:
    assert "from-outside" not in plain.values()
    assert "of-the-user" not in plain.values()
    assert plain["RIVET_CONFIG"] == "/dev/null"


def test_a_runner_is_told_neither_database_nor_key(plain: dict[str, str]) -> None:
    told = runner_environment(plain, Settings(), ADDRESSES)
    assert not {"RIVET_DATABASE_URL", "RIVET_SECRET_KEY"} & told.keys()
    assert not {"db-secret", "key-secret"} & set(told.values())
    assert told["RIVET_TOKEN"] == "runner-token"


def test_the_keys_of_a_bucket_are_the_api_s_alone(plain: dict[str, str]) -> None:
    settings = Settings(artifacts_url="s3://bucket")
    told = plain | {"AWS_SECRET_ACCESS_KEY": "storage-secret"}
    assert "storage-secret" in server_environment(told, settings, ADDRESSES).values()
    assert "storage-secret" not in runner_environment(told, settings, ADDRESSES).values()
    assert server_environment(told, settings, ADDRESSES)["RIVET_ARTIFACTS_URL"] == "s3://bucket"


def test_rivet_s_own_tools_come_last_on_a_runner_s_path(plain: dict[str, str]) -> None:
    assert runner_environment(plain, Settings(), ADDRESSES)["PATH"].startswith("/usr/bin:")


def test_the_servers_get_no_runner_s_token(plain: dict[str, str]) -> None:
    told = server_environment(plain, Settings(), ADDRESSES)
    assert "RIVET_TOKEN" not in told
    assert told["RIVET_DATABASE_URL"] == "db-secret"


def test_flower_gets_its_password_and_the_broker_alone(plain: dict[str, str]) -> None:
    told = flower_environment(plain, ADDRESSES)
    assert told["FLOWER_BASIC_AUTH"] == "rivet:pw"
    assert not {"RIVET_DATABASE_URL", "RIVET_SECRET_KEY", "RIVET_TOKEN"} & told.keys()


def test_what_the_operator_bounds_and_allows_reaches_who_decides_by_it(plain: dict[str, str]) -> None:
    settings = Settings(max_stage_seconds=60, max_run_seconds=90, plugins="semver, other", keep_logs_days=7)
    told = server_environment(plain, settings, ADDRESSES)
    assert (told["RIVET_MAX_STAGE_SECONDS"], told["RIVET_MAX_RUN_SECONDS"]) == ("60.0", "90.0")
    assert told["RIVET_KEEP_LOGS_DAYS"] == "7"
    assert {name for name in Settings.model_fields if name.startswith("keep_")} == {
        name.removeprefix("RIVET_").lower() for name in told if name.startswith("RIVET_KEEP_")
    }
    for part in (server_environment, runner_environment):
        whole = plain_environment(settings, Home(Path("/h")))
        assert part(whole, settings, ADDRESSES)["RIVET_PLUGINS"] == "semver,other"
