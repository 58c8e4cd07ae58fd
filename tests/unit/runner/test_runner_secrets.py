"""Secrets on a runner: asked for with the ticket, put in outside of the script, masked in what a stage says."""

import base64
import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import zstandard

from rivet.client import ApiProblem, ApiUnreachable
from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.mask import Masker
from rivet.domain.order import Grants, Order
from rivet.domain.secret import Opaque, Reference
from rivet.domain.states import OnLost
from rivet.journal.spool import Spool, read_spool
from rivet.modules.contract import CallError
from rivet.runner import secrets as runner_secrets
from rivet.runner.folder import JobFolder
from rivet.runner.journal import Journal
from rivet.runner.log_writer import LogWriter
from rivet.runner.secrets import StageSecrets

VALUE = b"ghp_Zx81kQw04LmB7sTy5RvC2nXd9PfH3jUa"
STAGE = StageKey("build")
NOT_GRANTED = ApiProblem(403, "forbidden", "it was not granted")


@dataclass
class Api:
    """Answers with values by name, or raises what stands in a value's place; a list is answered in turn."""

    values: dict[str, Any]
    asked: list[tuple[str, Any, Any]] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any, headers: Any, timeout_s: float) -> dict[str, str]:
        self.asked.append((path, body, headers))
        answer = self.values[path.rpartition("/")[2]]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return {"base64": base64.b64encode(answer).decode()}


@dataclass
class Attempt:
    """What a stage has of secrets, over an API that a test makes."""

    order: Order
    folder: JobFolder
    said: list[str] = field(default_factory=list)
    stop: list[Exception] = field(default_factory=list)
    masker: Masker = field(default_factory=Masker)

    def secrets(self, **values: Any) -> StageSecrets:
        self.api = Api(values)
        self.masker = Masker()
        desk: Any = SimpleNamespace(client=self.api)
        say = lambda level, text: self.said.append(text)  # noqa: E731
        return StageSecrets(self.order, STAGE, desk, self.folder, self.masker, say, self.go_on)

    def go_on(self) -> None:
        if self.stop:
            raise self.stop[0]


@pytest.fixture
def attempt(tmp_path, monkeypatch) -> Attempt:
    monkeypatch.setattr(runner_secrets, "RETRY_S", 0.001)
    order = Order(
        job=JobId(uuid4()), run=RunId(uuid4()), epoch=Epoch(1), project="default", pipeline="p", number=1,
        lua="", digest="", inputs={}, outputs={}, facts={}, stages=(), env={}, grants=Grants(), limits={},
        isolation=None, on_lost=OnLost.ERROR, timeout_left_s=60.0, ticket="the-ticket",
    )
    folder = JobFolder(tmp_path, order.job)
    folder.path.mkdir()
    return Attempt(order, folder)


def test_a_secret_is_asked_for_once_with_the_ticket_and_masked_from_then_on(attempt):
    secrets = attempt.secrets(TOKEN=VALUE)
    assert secrets.get("TOKEN") == secrets.get("TOKEN") == Opaque((Reference("TOKEN"),))
    path = f"/runner/jobs/{attempt.order.job}/secrets/TOKEN"
    assert attempt.api.asked == [(path, {"stage": STAGE}, {"Authorization": "Bearer the-ticket"})]
    assert attempt.masker.mask(VALUE) == b"***"


def test_a_refusal_is_the_call_s_error(attempt):
    with pytest.raises(CallError, match=r"secrets\.get: name: it was not granted"):
        attempt.secrets(TOKEN=NOT_GRANTED).get("TOKEN")


def test_nothing_is_asked_for_by_a_name_that_is_none_or_not_the_pipeline_s(attempt):
    attempt.order = replace(attempt.order, secrets=("OTHER",))
    secrets = attempt.secrets(TOKEN=VALUE)
    with pytest.raises(CallError, match="not among the `secrets`"):
        secrets.get("TOKEN")
    with pytest.raises(CallError, match="expected 1 to 100 capital letters"):
        secrets.get("../TOKEN")
    assert attempt.api.asked == []


def test_an_api_that_is_away_is_waited_for(attempt):
    away = [ApiUnreachable("nobody"), ApiProblem(503, "unavailable", "no database"), VALUE]
    assert attempt.secrets(TOKEN=away).get("TOKEN")
    assert attempt.said == ["the secret TOKEN is waited for: nobody"]


def test_the_wait_ends_with_the_stage(attempt):
    secrets = attempt.secrets(TOKEN=ApiUnreachable("nobody"))
    attempt.stop.append(TimeoutError("stopped"))
    with pytest.raises(TimeoutError):
        secrets.get("TOKEN")


def test_a_later_stage_masks_what_an_earlier_one_used(attempt):
    attempt.secrets(TOKEN=VALUE, GONE=b"another value").get("TOKEN")
    attempt.secrets(GONE=b"another value").get("GONE")
    later = attempt.secrets(TOKEN=VALUE, GONE=NOT_GRANTED)
    later.mask_those_of_earlier_stages()
    assert attempt.masker.mask(VALUE) == b"***"
    assert attempt.said == ["GONE, which an earlier stage used, cannot be had to mask it: it was not granted"]
    with pytest.raises(CallError, match=r"was not got with secrets\.get in this stage"):
        later.joined(Opaque((Reference("TOKEN"),)))


def test_the_note_of_what_was_used_holds_names_alone(attempt):
    attempt.secrets(TOKEN=VALUE).get("TOKEN")
    note = attempt.folder.path / "secrets"
    assert note.read_bytes() == b"TOKEN\n"
    assert note.stat().st_mode & 0o777 == 0o600


def test_values_are_put_in_where_they_may_be_used(attempt):
    secrets = attempt.secrets(TOKEN=b"\xff value")
    token = secrets.get("TOKEN")
    assert secrets.joined(Opaque((b"a\0", *token.parts, b"b"))) == b"a\0\xff valueb"
    assert secrets.in_variables("process.run", {"A": token, "B": "plain"}) == {"A": "\udcff value", "B": "plain"}


def test_a_secret_that_no_variable_can_hold_is_refused_without_its_value(attempt):
    secrets = attempt.secrets(TOKEN=b"secret\0value")
    with pytest.raises(CallError) as caught:
        secrets.in_variables("process.run", {"A": secrets.get("TOKEN")})
    assert str(caught.value) == (
        "process.run: env: A: the secret holds a NUL byte, which no variable can; hand it on in `stdin`"
    )


class Nowhere:
    """A stream to nobody."""

    def send(self, packed: list[bytes]) -> int:
        return 0


@pytest.fixture
def log(tmp_path):
    """A log that knows the secret; `lines()` closes it and gives what it wrote, `taken` what was given back."""
    path = tmp_path / "spool"
    stream: Any = Nowhere()
    journal = Journal(JobId(uuid4()), Epoch(1), Spool(path), stream)
    journal.masker.add(VALUE)
    writer = LogWriter(journal, STAGE, 1, 1 << 30)

    def lines(say) -> list[str]:
        with writer:
            say(writer)
        bodies = [zstandard.decompress(record.body).decode() for record, _ in read_spool(path)]
        return "\n".join(bodies).split("\n")

    return lines


def test_entries_of_a_script_are_masked(log):
    told = log(lambda writer: writer.say("info", f"a {VALUE.decode()}\nb {VALUE.hex()}"))
    assert told == ["a ***", "b ***"]


def test_a_secret_across_two_reads_is_masked_in_the_log_and_in_what_is_given_back(log):
    given = []

    def say(writer):
        given.append(writer.take("stdout", b"one " + VALUE[:10]))
        given.append(writer.take("stdout", VALUE[10:] + b" two\nthree gh"))
        given.append(writer.finish()["stdout"])

    assert log(say) == ["one *** two", "three gh"]
    assert given == [b"one ", b"*** two\nthree ", b"gh"]


def test_a_secret_across_the_place_where_a_long_line_is_cut_is_masked(log):
    told = log(lambda writer: writer.output("stdout", b"x" * (65536 - 10) + VALUE + b"y" * 20 + b"\n"))
    assert "".join(told) == "x" * (65536 - 10) + "***" + "y" * 20


def test_streams_do_not_mix(log):
    def say(writer):
        writer.output("stdout", VALUE[:20])
        writer.output("stderr", b"between\n")
        writer.output("stdout", VALUE[20:] + b"\n")

    assert log(say) == ["between", "***"]


def test_two_threads_may_write_while_a_secret_is_added(log):
    def say(writer):
        def add():
            for number in range(20):
                writer._journal.masker.add(b"%d-another-secret" % number)

        beside = threading.Thread(target=add)
        beside.start()
        for _ in range(200):
            writer.output("stdout", VALUE[:7])
            writer.output("stdout", VALUE[7:] + b"\n")
        beside.join(10)

    assert log(say) == ["***"] * 200
