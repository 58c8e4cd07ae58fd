"""What runs keep: artifacts, caches and reports, out of a real room through the real API and back."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import uuid

import pytest
from moto.server import ThreadedMotoServer

from rivet.blobs.piece import packed
from rivet.client import Client
from rivet.domain.ids import StageKey
from rivet.domain.order import Order
from rivet.domain.record import Record
from rivet.domain.report import Case, CaseStatus, Coverage
from rivet.domain.states import JobStatus
from rivet.engine.ingest_records import ingest_records
from rivet.modules.contract import CallError
from rivet.runner.reports import StageReports

MIB = 1024 * 1024


def get(api, stage, name="", **headers):
    return api.ask("GET", f"/runs/{stage.order.run}/artifacts" + (f"/{name}" if name else ""), **headers)


def test_a_file_is_kept_as_it_is_and_comes_back(api, stage):
    digest = stage.shell("mkdir dist; head -c 9000000 /dev/urandom > dist/app.bin; sha256sum < dist/app.bin")[:64]
    kept = stage.artifacts.upload("app", ["dist/app.bin"])
    assert (kept.form, kept.filename, kept.root, kept.files) == ("file", "app.bin", "dist", 1)
    assert (kept.blob.size, kept.blob.sha256, len(kept.blob.pieces)) == (9_000_000, digest, 3)
    assert stage.said == [f'uploaded the artifact "app": 1 file, 8.6 MiB, sha256 {digest}']
    listed = get(api, stage).json["items"]
    assert [(one["name"], one["stage"], one["size"], one["sha256"]) for one in listed] == [
        ("app", "build", 9_000_000, digest)
    ]
    whole = get(api, stage, "app")
    assert hashlib.sha256(whole.body).hexdigest() == digest
    assert whole.headers["X-Rivet-SHA256"] == digest
    assert whole.headers["Content-Disposition"].endswith("app.bin")
    stage.shell("rm -r dist")
    stage.artifacts.download("app", None, None)
    stage.artifacts.download("app", "in/here", None)
    assert stage.shell("sha256sum < dist/app.bin; sha256sum < in/here/app.bin").split()[::2] == [digest, digest]


def test_ranges_are_cut_over_the_borders_of_pieces(api, stage):
    stage.shell("head -c 9000000 /dev/urandom > app")
    stage.artifacts.upload("app", ["app"])
    whole = get(api, stage, "app").body
    first, last = 4 * MIB - 10, 8 * MIB + 10
    part = get(api, stage, "app", Range=f"bytes={first}-{last}")
    assert (part.status, part.headers["Content-Range"]) == (206, f"bytes {first}-{last}/9000000")
    assert part.body == whole[first : last + 1]
    assert get(api, stage, "app", Range="bytes=-5").body == whole[-5:]
    assert get(api, stage, "app", Range="bytes=8999999-").body == whole[-1:]
    outside = get(api, stage, "app", Range="bytes=9000000-")
    assert (outside.status, outside.headers["Content-Range"]) == (416, "bytes */9000000")
    assert get(api, stage, "app", Range="bytes=0-1", If_Range='"another"').status == 200


def test_a_folder_and_globs_come_back_with_links_modes_and_names(api, stage):
    stage.shell(
        "mkdir -p out/deep/er; echo 1 > out/a.txt; echo 2 > out/deep/b.txt; echo 3 > 'out/deep/er/ü b.txt';"
        "chmod 755 out/a.txt; ln -s ../a.txt out/deep/link; mkdir out/empty; : > out/nothing"
    )
    kept = stage.artifacts.upload("out", ["out"])
    assert (kept.form, kept.root, kept.files) == ("tar", "out", 5)
    with tarfile.open(fileobj=io.BytesIO(get(api, stage, "out").body)) as tar:
        assert sorted(tar.getnames()) == [
            "a.txt", "deep", "deep/b.txt", "deep/er", "deep/er/ü b.txt", "deep/link", "empty", "nothing"
        ]
    stage.artifacts.download("out", "again", None)
    assert stage.shell("cd again; cat a.txt deep/b.txt 'deep/er/ü b.txt' deep/link; test -x a.txt; test -d empty") == (
        "1\n2\n3\n1\n"
    )
    globbed = stage.artifacts.upload("texts", ["out/**/*.txt", "out/nothing"])
    assert (globbed.root, globbed.files) == ("out", 4)


@pytest.mark.parametrize(
    ("made", "path", "told"),
    [
        ("ln -s /etc out", "out", '"out" leads out of the workspace by a link, to /etc'),
        ("ln -s /etc out", "out/passwd", '"out/passwd" leads out of the workspace by a link'),
        ("mkdir d; ln -s /etc/passwd d/p", "d", '"d/p" leads out of the workspace by a link'),
        ("mkdir d; ln -s ../../etc d/p", "d/**", '"d/p" leads out of the workspace by a link'),
        ("true", "dist/*.whl", '"dist/*.whl" matches nothing'),
        ("mkdir d", "d", "what is named holds no file"),
    ],
)
def test_what_cannot_be_kept_is_said_with_its_path(api, stage, made, path, told):
    stage.shell(made)
    with pytest.raises(CallError, match=r"^artifacts\.upload: path: ") as raised:
        stage.artifacts.upload("x", [path])
    assert told in str(raised.value)
    assert get(api, stage).json["items"] == []


def test_a_download_goes_through_no_link(api, stage):
    stage.shell("echo 1 > a; mkdir $HOME/elsewhere; ln -s $HOME/elsewhere out")
    stage.artifacts.upload("a", ["a"])
    with pytest.raises(CallError, match=r'^artifacts\.download: "out": "out" is there and is a link$'):
        stage.artifacts.download("a", "out", None)
    assert stage.shell("ls $HOME/elsewhere") == ""


def test_a_name_belongs_to_one_stage_of_the_run(api, stage):
    stage.shell("echo 1 > a")
    stage.artifacts.upload("a", ["a"])
    stage.shell("echo 22 > a")
    stage.artifacts.upload("a", ["a"])
    assert get(api, stage, "a").body == b"22\n"
    theirs = stage.artifacts
    theirs._stage = "test"
    with pytest.raises(CallError, match='another stage of this run has uploaded an artifact "a"'):
        theirs.upload("a", ["a"])


def test_another_run_of_the_project_is_downloaded_from_by_its_name(api, stage, claimed):
    stage.shell("echo hello > a")
    stage.artifacts.upload("a", ["a"])
    number = api.ask("GET", f"/runs/{stage.order.run}").json["number"]
    other = stage.another(claimed())
    with pytest.raises(CallError, match='has no artifact "a"; `rivet artifact list demo#'):
        other.artifacts.download("a", None, None)
    other.artifacts.download("a", "there", f"demo#{number}")
    assert other.shell("cat there/a") == "hello\n"


def test_a_ticket_counts_only_while_its_runner_holds_the_job(api, stage, store):
    stage.shell("echo 1 > a")
    with store.begin() as tx:
        job = tx.jobs.lock(stage.order.job)
        tx.jobs.move(job, JobStatus.LOST)
    with pytest.raises(CallError, match="is not held by this runner in epoch 1 any more"):
        stage.artifacts.upload("a", ["a"])


def test_a_piece_is_believed_only_by_its_digest(api, stage):
    path = f"/runner/jobs/{stage.order.job}/blobs/pieces/"
    ticket = stage.order.ticket
    digest = hashlib.sha256(b"mine").hexdigest()
    assert api.ask("PUT", path + digest, packed(b"other"), token=ticket).status == 422
    assert api.ask("PUT", path + digest, b"no frame", token=ticket).status == 422
    assert api.ask("PUT", path + digest, packed(b"x" * (4 * MIB + 1)), token=ticket).status == 422
    assert api.ask("PUT", path + digest, b"x" * (5 * MIB), token=ticket).status == 413
    look = {"digests": [digest]}
    assert api.ask("POST", path + "missing", look, token=ticket).json == {"missing": [digest]}
    assert api.ask("GET", path + digest, token=ticket).status == 404
    assert api.ask("PUT", path + digest, packed(b"mine"), token=ticket).status == 204
    assert api.ask("GET", path + digest, token=ticket).status == 200
    assert api.ask("POST", path + "missing", look, token=ticket).json == {"missing": []}
    never = {"size": 1, "sha256": digest, "pieces": ["0" * 64]}
    contents = {"form": "file", "filename": "a", "root": "", "files": 1, "blob": never}
    told = {"stage": "build", "attempt": 1, "contents": contents}
    where = f"/runner/jobs/{stage.order.job}/blobs/artifacts/a"
    assert "piece 1 was never sent" in api.ask("PUT", where, told, token=ticket).json["detail"]
    contents["blob"] = {"size": 3, "sha256": digest, "pieces": [digest]}
    assert "piece 1 has 4 bytes" in api.ask("PUT", where, told, token=ticket).json["detail"]


def test_a_killed_api_is_waited_for_and_the_transfer_goes_on(api, stage):
    digest = stage.shell("head -c 60000000 /dev/urandom > big; sha256sum < big")[:64]
    pieces = api.log.parent / "artifacts"
    before = len(list(pieces.glob("*/*/*")))
    sent = []

    def kill_in_the_middle():
        while len(list(pieces.glob("*/*/*"))) < before + 3:
            time.sleep(0.001)
        api.kill()
        sent.append(len(list(pieces.glob("*/*/*"))) - before)
        api.start_again()

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    kept = stage.artifacts.upload("big", ["big"])
    killer.join()
    assert 3 <= sent[0] < 15
    assert (kept.blob.size, kept.blob.sha256) == (60_000_000, digest)
    assert any("artifacts.upload: waiting for the API" in line for line in stage.said)
    stage.artifacts.download("big", "again", None)
    assert stage.shell("sha256sum < again/big")[:64] == digest


def test_a_stage_that_is_stopped_stops_its_upload(stage):
    stage.shell("truncate -s 500M zeros; head -c 50000000 /dev/urandom >> zeros")
    threading.Timer(0.3, lambda: setattr(stage, "stopped", "cancelled")).start()
    with pytest.raises(InterruptedError, match="cancelled"):
        stage.artifacts.upload("zeros", ["zeros"])


def test_a_cache_comes_back_in_a_later_run_with_all_that_was_in_it(stage, claimed):
    stage.shell(
        "mkdir -p venv/bin $HOME/.cache/pip; ln -s /usr/bin/python3 venv/bin/python; echo 1 > venv/a;"
        "echo 2 > $HOME/.cache/pip/b; echo 3 > other; chmod 700 venv/a"
    )
    assert stage.caches.save("deps-1", ["venv", "~/.cache/pip", "other"]) is True
    assert stage.said[-1].startswith('saved the cache "deps-1": 4 files, ')
    stage.shell("rm -r venv $HOME/.cache other")
    later = stage.another(claimed())
    assert later.caches.restore("deps-1", [], ["venv", "~/.cache/pip"]) == "deps-1"
    assert later.said[-1].startswith('restored 3 files of the cache "deps-1"')
    assert later.shell("cat venv/a $HOME/.cache/pip/b; readlink venv/bin/python; test -x venv/a; test ! -e other") == (
        "1\n2\n/usr/bin/python3\n"
    )


def test_the_key_comes_first_then_the_newest_that_begins_with_a_fallback(stage, claimed):
    for key in ("lib-a", "lib-b", "tool-a"):
        stage.shell(f"echo {key} > f")
        stage.caches.save(key, ["f"])
    found = stage.another(claimed()).caches
    assert found.restore("lib-a", ["lib-"], ["f"]) == "lib-a"
    assert stage.shell("cat f") == "lib-a\n"
    assert found.restore("lib-c", ["lib-", "tool-"], ["f"]) == "lib-b"
    assert stage.shell("cat f") == "lib-b\n"
    assert found.restore("lib", [], ["f"]) is None
    assert found.restore("x", ["y", "tool-"], ["f"]) == "tool-a"


def test_a_key_that_is_there_is_left_as_it_is(stage, claimed):
    stage.shell("echo 1 > f")
    assert stage.caches.save("once", ["f"]) is True
    stage.shell("echo 2 > f")
    later = stage.another(claimed())
    assert later.caches.save("once", ["f"]) is False
    assert later.said == ['there is a cache "once" already; it is left as it is']
    later.caches.restore("once", [], ["f"])
    assert later.shell("cat f") == "1\n"


def test_caches_are_of_a_pipeline_and_of_a_branch_that_sees_the_default_branch(stage, claimed, store):
    def on(branch: str) -> Order:
        order = claimed()
        with store.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE run SET facts = %s WHERE id = %s",
                (f'{{"branch": "{branch}", "default_branch": "main"}}', str(order.run)),
            )
        return order

    main, topic, other = (stage.another(on(branch)) for branch in ("main", "topic", "other"))
    stage.shell("echo main > f")
    main.caches.save("of-main", ["f"])
    stage.shell("echo topic > f")
    topic.caches.save("of-topic", ["f"])
    assert topic.caches.restore("x", ["of-"], ["f"]) == "of-topic"
    assert topic.caches.restore("of-main", [], ["f"]) == "of-main"
    assert other.caches.restore("x", ["of-"], ["f"]) == "of-main"
    assert main.caches.restore("x", ["of-"], ["f"]) == "of-main"
    source = 'return { name = "Another", stages = { { name = "build", script = function() end } } }'
    assert stage.another(claimed(source=source, slug="another")).caches.restore("x", ["of-"], ["f"]) is None


def test_a_cache_over_the_operator_s_bound_is_refused_before_a_byte_is_sent(stage):
    stage.shell("truncate -s 10G big")
    with pytest.raises(CallError, match=r'^cache\.save: cache "huge": has 10\.0 GiB, the operator allows 5\.0 GiB$'):
        stage.caches.save("huge", ["big"])
    assert stage.caches.restore("huge", [], ["big"]) is None


def test_a_folder_that_became_a_link_is_not_written_through(stage, claimed):
    stage.shell("mkdir d; echo 1 > d/f")
    stage.caches.save("d", ["d"])
    stage.shell("rm -r d; mkdir $HOME/elsewhere; ln -s $HOME/elsewhere d")
    with pytest.raises(CallError, match=r'cache\.restore: "d": "d" is there and is a link'):
        stage.another(claimed()).caches.restore("d", [], ["d"])
    assert stage.shell("ls -A $HOME/elsewhere") == ""


def test_all_of_it_works_on_s3_and_the_runner_sees_nothing_of_it(database_url, redis_url, serve, stage):
    bucket = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    bucket.start()
    try:
        endpoint = "http://{}:{}".format(*bucket.get_host_and_port())
        _request(endpoint + "/artifacts", "PUT")
        own = serve(
            database_url, redis_url, RIVET_ARTIFACTS_URL="s3://artifacts/of/rivet", AWS_ENDPOINT_URL=endpoint,
            AWS_ACCESS_KEY_ID="alice", AWS_SECRET_ACCESS_KEY="wonderland",
        )  # fmt: skip
        stage.client = Client(f"http://127.0.0.1:{own.port}")
        digest = stage.shell("head -c 9000000 /dev/urandom > f; sha256sum < f")[:64]
        assert stage.caches.save("s3", ["f"])
        stage.artifacts.upload("s3", ["f"])
        stage.shell("rm f")
        assert stage.caches.restore("s3", [], ["f"]) == "s3"
        assert stage.shell("sha256sum < f")[:64] == digest
        assert _request(endpoint + "/artifacts", "GET").count(b"<Key>of/rivet/") == 6
        part = own.ask("GET", f"/runs/{stage.order.run}/artifacts/s3", Range="bytes=8999990-")
        assert (part.status, len(part.body)) == (206, 10)
    finally:
        bucket.stop()
    answer = own.ask("GET", f"/runs/{stage.order.run}/artifacts/s3", Range="bytes=0-10")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")


def _request(url, method):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read()


def rivet(api, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rivet", "artifact", *arguments],
        env={"PATH": os.environ["PATH"], "RIVET_URL": f"http://127.0.0.1:{api.port}", "RIVET_TOKEN": api.token},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_people_list_and_download_them_with_the_command_line(api, stage, tmp_path):
    stage.shell("mkdir d; head -c 20000000 /dev/urandom > big; echo 1 > d/a; ln -s a d/link")
    big = stage.artifacts.upload("big", ["big"]).blob
    stage.artifacts.upload("folder", ["d"])
    run, to = str(stage.order.run), tmp_path / "to"
    listed = rivet(api, "list", run)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ARTIFACT", "big", "folder"]
    to.mkdir()
    part = to / f".big.{big.sha256[:16]}.part"
    part.write_bytes(api.ask("GET", f"/runs/{run}/artifacts/big", Range="bytes=0-9999999").body)
    got = rivet(api, "download", run, "big", "--dir", str(to), "--json")
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["items"][0]["sha256"] == big.sha256
    assert hashlib.sha256((to / "big").read_bytes()).hexdigest() == big.sha256
    assert not part.exists()
    assert rivet(api, "download", run, "--dir", str(to / "all")).returncode == 0
    assert (to / "all/folder/link").read_text() == "1\n"
    assert (to / "all/big/big").stat().st_size == 20_000_000
    unknown = rivet(api, "download", run, "bgi")
    assert (unknown.returncode, "it has: big, folder" in unknown.stderr) == (2, True)


def test_a_damaged_download_is_no_download(api, stage, tmp_path):
    stage.shell("head -c 5000 /dev/urandom > f")
    digest = stage.artifacts.upload("f", ["f"]).blob.sha256
    (tmp_path / f".f.{digest[:16]}.part").write_bytes(b"x" * 4000)
    got = rivet(api, "download", str(stage.order.run), "f", "--dir", str(tmp_path))
    assert (got.returncode, "give the command again to fetch it anew" in got.stderr) == (1, True)
    assert not (tmp_path / "f").exists()
    assert rivet(api, "download", str(stage.order.run), "f", "--dir", str(tmp_path)).returncode == 0


def reported(store, order, runner, *cases):
    """Tests as `suite.name=status` of a run's first stage, through its journal."""
    records = []
    reports = StageReports(lambda kind, data, body: records.append((kind, data, body)), lambda case: case)
    reports.tests([
        Case("s", "", name, CaseStatus(status), 0.5, f"{name} is {status}", "")
        for name, status in (case.split("=") for case in cases)
    ])
    reports.coverage(Coverage("coverage.xml", "cobertura", 200, 150))
    taken = [
        Record(order.job, order.epoch, seq, "2030-01-01T00:00:00.000Z", kind, StageKey("build"), 1, data, body)
        for seq, (kind, data, body) in enumerate(records, 1)
    ]
    assert ingest_records(runner, taken, store=store).dropped == 0


def test_tests_are_told_failures_first_with_counts_and_those_that_are_flaky(api, store):
    def a_run(*cases):
        session = api.register(name := f"r-{uuid.uuid4().hex[:8]}")
        order = Order.read(api.claim(api.start(), session))
        reported(store, order, name, *cases)
        return order.run

    a_run("shaky=failed", "steady=passed")
    run = a_run("steady=passed", "left=skipped", "shaky=passed", "broken=failed", "torn=errored")
    told = api.ask("GET", f"/runs/{run}/tests").json
    assert [(one["name"], one["status"], one["flaky"]) for one in told["items"]] == [
        ("broken", "failed", False), ("torn", "errored", False), ("left", "skipped", False),
        ("steady", "passed", False), ("shaky", "passed", True),
    ]  # fmt: skip
    assert told["counts"] == {"tests": 5, "failed": 1, "errored": 1, "skipped": 1, "passed": 2, "flaky": 1}
    assert told["items"][0]["message"] == "broken is failed"
    assert [(one["format"], one["line_rate"]) for one in told["coverage"]] == [("cobertura", 0.75)]
    first = api.ask("GET", f"/runs/{run}/tests?limit=2").json
    rest = api.ask("GET", f"/runs/{run}/tests?limit=9&cursor={first['next_cursor']}").json
    assert first["items"] + rest["items"] == told["items"]
    assert rest["next_cursor"] is None
