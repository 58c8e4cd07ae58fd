"""Folders: uploaded under their digest, checked, kept once, and named by runs that start from them."""

import hashlib
import io
import socket
import tarfile

import pytest
import zstandard

from rivet.domain.blob import PIECE_BYTES
from rivet.engine.keep_folder import MOST_BYTES


def a_folder(**files):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    sent = zstandard.ZstdCompressor().compress(tar.getvalue())
    return sent, hashlib.sha256(sent).hexdigest()


def put(api, digest, sent, project="default"):
    return api.ask("PUT", f"/projects/{project}/folders/{digest}", sent, Content_Type="application/octet-stream")


def is_a_problem(answer, status, code, word=""):
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert word in answer.json["detail"]


def test_a_folder_is_kept_once_and_found_by_its_digest(api):
    sent, digest = a_folder(a=b"1")
    is_a_problem(api.ask("GET", f"/projects/default/folders/{digest}"), 404, "not_found")
    first, again = put(api, digest, sent), put(api, digest, sent)
    assert (first.status, again.status) == (201, 200)
    told = {"project": "default", "sha256": digest, "size": len(sent)}
    assert first.json == again.json == told
    assert api.ask("GET", f"/projects/default/folders/{digest}").json == told


def test_a_run_that_starts_from_a_folder_hands_it_to_its_runner(api):
    sent, digest = a_folder(noise=hashlib.shake_256(b"").digest(PIECE_BYTES + 5))
    put(api, digest, sent)
    order = api.claim(api.start(folder=digest), api.register())
    assert (order["folder"]["sha256"], order["folder"]["size"]) == (digest, len(sent))
    assert len(order["folder"]["pieces"]) == 2
    assert api.claim(api.start(), api.register())["folder"] is None


def test_what_was_never_uploaded_cannot_be_started_from(api):
    path, body = "/projects/default/pipelines/demo/runs", {"source": "return {}", "folder": "0" * 64}
    api.start()
    del body["source"]
    is_a_problem(api.ask("POST", path, body), 422, "invalid_input", "PUT /projects/default/folders/")
    is_a_problem(api.ask("POST", path, {"folder": "abc"}), 422, "invalid_input", "folder")


def test_what_is_not_what_its_digest_says_is_not_kept(api):
    sent, digest = a_folder(a=b"2")
    other = "0" * 64
    is_a_problem(put(api, other, sent), 422, "invalid_input", digest)
    is_a_problem(api.ask("GET", f"/projects/default/folders/{other}"), 404, "not_found")


@pytest.mark.parametrize("sent", [b"", b"a", b"no zstd at all"])
def test_what_is_not_packed_with_zstd_is_refused(api, sent):
    is_a_problem(put(api, hashlib.sha256(sent).hexdigest(), sent), 422, "invalid_input", "zstd")


def test_an_unknown_project_or_a_strange_digest_is_refused(api):
    sent, digest = a_folder(a=b"3")
    is_a_problem(put(api, digest, sent, "nowhere"), 404, "not_found")
    is_a_problem(put(api, "abc", sent), 422, "invalid_input", "64 hexadecimal digits")


def test_a_folder_over_256_mib_is_refused_before_it_is_read(api):
    head = (
        f"PUT /api/v1/projects/default/folders/{'0' * 64} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {api.token}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {MOST_BYTES + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert b" 413 " in answer.splitlines()[0]
    assert str(MOST_BYTES).encode() in answer
