"""A secret that a stage sends through everything it has is in no place that others can look into."""

import base64
import json
import re
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg2
import pytest
import redis
import zstandard

from rivet.domain.errors import BadRecord
from rivet.domain.record import unpack
from rivet.journal.spool import read_spool

from .rivet_home import wait_for

SHOW = r"""
import base64, json, os, sys, time
from urllib.parse import quote, quote_plus
for name in ("TOKEN", "KEY"):
    value = os.environb[name.encode()]
    for form in (
        value, value[::-1], value.hex().encode(), value.hex().upper().encode(), base64.b64encode(value),
        base64.b64encode(b"u" + value), base64.b64encode(b"u:" + value), base64.urlsafe_b64encode(value),
        base64.encodebytes(value), quote(value, safe="").encode(), quote_plus(value).encode(),
        json.dumps(value.decode()).encode(), b"x" * 65520 + value, *value.split(b"\n"),
    ):
        for out in (sys.stdout.buffer, sys.stderr.buffer):
            out.write(b"[" + form + b"]\n")
            out.flush()
    half = len(value) // 2
    for piece in (value[:half], value[half:], b"\n"):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        time.sleep(0.05)
sys.stdout.buffer.write(sys.stdin.buffer.read())
open("left", "wb").write(os.environb[b"KEY"] + b"\n" + os.environb[b"TOKEN"])
"""

WRITE = r"""
import os
from xml.sax.saxutils import escape
token, key = os.environ["TOKEN"], os.environ["KEY"]
told = escape(token + key, {'"': "&quot;"})
case = f'<testcase classname="{told}" name="{told}"><failure message="{told}">{told}</failure></testcase>'
open("junit.xml", "w").write(f'<testsuite name="{told}">{case}</testsuite>')
open("lcov.info", "w").write(f"SF:{token}\nDA:1,1\nend_of_record\n")
open("named", "w").write(token + key)
open("data.json", "w").write('{"a": "%s"}' % token)
"""

MODULES = """
  { name = "modules", script = function()
    local token, key = secrets.get("LEAK_TOKEN"), secrets.get("LEAK_KEY")
    process.run({ command = "python3", args = { "-c", WRITE }, env = { TOKEN = token, KEY = key } })
    local calls = 0
    local function try(what, ...)
      local got = table.pack(pcall(what, ...))
      calls = calls + 1
      for i = 2, got.n do
        print(got[i])
        pcall(function() for name, value in pairs(got[i]) do print(name, value) end end)
      end
    end
    for _, v in ipairs({ token, "a" .. token .. key }) do
      for _, say in ipairs({ log.debug, log.info, log.warn, log.error, print, error, tostring, tonumber, type }) do try(say, v) end
      try(log.info, "fields", { [1] = v, a = { b = v } }) try(log.group, v, function() log.info(v) end)
      try(log.annotate, { message = v }) try(log.annotate, { message = "m", file = v })
      for _, get in ipairs({ env.get, env.require, env.has, input.get, input.require, input.has, output.get, output.require, output.list }) do
        try(get, v) try(get, "unknown", v)
      end
      try(output.set, v, 1) try(output.set, "o", v) try(output.set, "o", { v }) try(output.set, "o", { [tostring(v)] = 1 })
      try(run.summary, v) try(secrets.get, v)
      for _, run in ipairs({ process.run, process.start }) do
        try(run, { command = v }) try(run, { command = "true", args = { v } }) try(run, { command = "true", cwd = v })
        try(run, { command = "cat", stdin = v, capture = true }) try(run, { command = "env", env = { A = v }, capture = true })
        try(run, { command = "true", timeout = v }) try(run, { command = "sh", args = { "-c", "cat >&2; exit 4" }, stdin = v })
      end
      local h = process.start({ command = "sh", args = { "-c", "cat; cat named" }, stdin = v, capture = true })
      try(function() return h:wait() end) try(process.which, v)
      try(process.start, { command = "cat", stdin = v, ready = { log = v, timeout = 1 } })
      for _, call in ipairs({ git.clone, git.checkout, git.rev_parse, git.changed_files, git.describe, git.log }) do
        try(call, v) try(call, { path = v })
      end
      for _, field in ipairs({ "url", "branch", "commit", "path", "token" }) do
        local asked = { url = "URL/none.git", path = "clone" }
        asked[field] = v
        try(git.clone, asked)
      end
      for _, call in ipairs({ fs.read, fs.exists, fs.list, fs.glob, fs.mkdir, fs.remove, fs.stat }) do try(call, v) end
      for _, call in ipairs({ fs.write, fs.append, fs.copy, fs.move }) do try(call, "file", v) try(call, v, "file") end
      for _, call in ipairs({ http.get, http.post, http.put, http.delete }) do
        try(call, v) try(call, { url = "URL/" .. v }) try(call, { url = "URL/", headers = { A = v } })
        try(call, { url = "URL/", body = v }) try(call, { url = "URL/", json = { v } }) try(call, { url = "URL/", query = { q = v } })
      end
      try(http.request, { method = v, url = "URL/" })
      for _, call in ipairs({ json.encode, json.decode, json.array, base64.encode, base64.decode, hash.sha256, hash.files, time.iso, time.sleep }) do
        try(call, v) try(call, { v })
      end
      try(artifacts.upload, { name = v, path = "named" }) try(artifacts.upload, { name = "n", path = v })
      try(artifacts.download, { name = v }) try(artifacts.download, { name = "n", run = v }) try(artifacts.download, { name = "n", path = v })
      for _, call in ipairs({ cache.save, cache.restore }) do
        try(call, { key = v, paths = { "named" } }) try(call, { key = "k", paths = { v }, fallback = { v } })
      end
      try(report.junit, { path = v }) try(report.coverage, { path = v })
      try(semver.compare, v, "1.0.0") try(semver.compare, "1.0.0", v)
      for _, call in ipairs({ string.rep, string.len, string.upper, string.format, string.byte, string.reverse, utf8.len, table.concat }) do try(call, v, 2) end
      try(string.format, "%s %q", v, v) try(function() return v.a end) try(function() return v < "a" end) try(function() return #v end)
      try(function() v.a = 1 end) try(load, v) try(select, v) try(pairs, v) try(next, v) try(rawget, v, 1) try(setmetatable, {}, v)
    end
    try(artifacts.upload, { name = "kept", path = "named" }) try(cache.save, { key = "kept", paths = { "named" } })
    try(report.junit, { path = "junit.xml" }) try(report.coverage, { path = "lcov.info" })
    try(fs.read, "named") try(json.decode, fs.read("data.json")) try(base64.encode, fs.read("named")) try(hash.files, { "named" })
    log.info("calls: " .. calls)
  end },
  { name = "raises", allow_failure = true, script = function() error("it was " .. secrets.get("LEAK_TOKEN")) end },
  { name = "raises it", allow_failure = true, script = function() error(secrets.get("LEAK_KEY")) end },
"""

LEAKS = """
pipeline = { name = "Leaks", permissions = { hosts = { "HOST" } }, secrets = { "LEAK_TOKEN", "LEAK_KEY" }, stages = {
  { name = "tell", script = function()
    local token, key = secrets.get("LEAK_TOKEN"), secrets.get("LEAK_KEY")
    log.info(token) log.warn("a " .. token .. " b", { field = key, other = "c" .. token })
    print(token, key) print(tostring(token) .. ("%s"):format(key))
    local given = { TOKEN = token, KEY = key }
    local got = process.run({ command = "python3", args = { "-c", SHOW }, env = given,
      stdin = "in: " .. token .. key, capture = true })
    log.info(got.stdout) log.error(got.stderr)
    output.set("captured", got.stdout:sub(1, 20000))
    output.set("table", { [got.stderr:sub(-3000)] = { got.stderr:sub(-5000) } })
    run.summary(got.stdout:sub(-20000))
    log.info(fs.read("left"))
    local ok, told = pcall(process.run, { command = "sh", args = { "-c", 'echo "$TOKEN $KEY"; exit 3' }, env = given })
    log.info(told)
    ok, told = pcall(process.run, { command = "sh", args = { token } })
    log.info(told)
  end },
  { name = "later", script = function()
    process.run({ command = "cat", args = { "left" } })
    output.set("left", fs.read("left"))
  end },
  MODULES
  { name = "hold", script = function()
    local token = secrets.get("LEAK_TOKEN")
    process.run({ command = "sleep", args = { "100" }, env = { HELD = token }, timeout = 3, check = false })
  end },
} }
"""


def forms_of(value: bytes) -> Iterator[bytes]:
    """What must not be seen, made by other code than the masker's."""
    yield value
    yield value[::-1]
    yield from (value.hex().encode(), value.hex().upper().encode())
    for before in (b"", b"u", b"u:"):
        whole = base64.b64encode(before + value).rstrip(b"=")
        yield whole[4 if before else 0 : -2]
        yield whole.replace(b"+", b"-").replace(b"/", b"_")[4 if before else 0 : -2]
    yield from (quote(value, safe="").encode(), quote_plus(value).encode(), json.dumps(value.decode())[1:-1].encode())


@pytest.fixture
def values() -> dict[str, bytes]:
    key = "\n".join(secrets.token_urlsafe(30) for _ in range(3))
    return {"LEAK_TOKEN": f"t/{secrets.token_urlsafe(20)} &+ä".encode(), "LEAK_KEY": key.encode()}


@pytest.fixture
def found(values):
    """Says which forms of the secrets stand in some bytes."""
    needles = {
        form: f"{name}: {form!r}"
        for name, value in values.items()
        for part in {value, *value.split(b"\n")}
        for form in forms_of(part)
    }

    def look(raw: bytes) -> list[str]:
        return [told for form, told in needles.items() if form in raw]

    return look


def unpacked(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(body) if body else b""


def database(system) -> Iterator[tuple[str, bytes]]:
    """Every row of every table as text, and the packed bodies unpacked."""
    with psycopg2.connect(system.database_url()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            for (row,) in cursor.fetchall():
                yield table, row.encode()
                yield from ((f"{table}, bytes", bytes.fromhex(raw)) for raw in re.findall(r"\\x([0-9a-f]+)", row))
        cursor.execute("SELECT body FROM record")
        for (body,) in cursor.fetchall():
            yield "a record's body", unpacked(bytes(body))


def broker(system) -> Iterator[tuple[str, bytes]]:
    """Every value of every key, and what records in streams hold."""
    url = system.told("control")["RIVET_BROKER_URL"]
    client = redis.Redis.from_url(url)
    read = {
        "string": client.get, "hash": client.hgetall, "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers, "zset": lambda key: client.zrange(key, 0, -1), "stream": client.xrange,
    }
    for key in client.scan_iter():
        kind = client.type(key).decode()
        value = read[kind](key)
        yield f"Redis {key!r}", key + repr(value).encode()
        for _, fields in value if kind == "stream" else ():
            for packed in fields.values():
                try:
                    yield f"a record in {key!r}", unpacked(unpack(packed).body)
                except (BadRecord, zstandard.ZstdError):
                    continue


def files(system) -> Iterator[tuple[str, bytes]]:
    """Every file of the home but what a stage itself wrote and kept, also where its runner keeps the workspace as
    stages found it (`tree`); spools are read as records too."""
    for path in (system.folder / "home").rglob("*"):
        inside = path.relative_to(system.folder)
        if not path.is_file() or {"workspace", "tree", "artifacts"} & set(inside.parts) or "postgres" in str(inside):
            continue
        try:
            yield str(inside), path.read_bytes()
            if path.name.startswith("spool."):
                yield from ((f"records of {inside}", unpacked(record.body)) for record, _ in read_spool(path))
        except FileNotFoundError:
            continue


def processes(found) -> tuple[list[str], set[str]]:
    """Forms in any command line, and the names of processes that have one in their environment."""
    lines: list[str] = []
    holders: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines += found((process / "cmdline").read_bytes())
            if found((process / "environ").read_bytes()):
                holders.add((process / "comm").read_text().strip())
        except OSError:
            continue
    return lines, holders


def flower(system) -> Iterator[tuple[str, bytes]]:
    """What the monitor knows of tasks and of workers."""
    (password,) = (system.folder / "home").rglob("flower*password*")
    told = base64.b64encode(b"rivet:" + password.read_bytes().strip()).decode()
    for path in ("/api/tasks?limit=1000", "/api/workers?status=true", "/tasks", "/workers"):
        request = urllib.request.Request(system.status()["flower_url"] + path, headers={"Authorization": f"Basic {told}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            yield f"Flower {path}", answer.read()


def test_a_secret_sent_through_everything_is_nowhere_to_be_read(system, web, values, found, tmp_path):
    for name, value in values.items():
        (tmp_path / name).write_bytes(value)
        done = system.cli("secret", "set", name, "--pipeline", "leaks", "--file", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert found((done.stdout + done.stderr).encode()) == []

    lua = LEAKS.replace("MODULES", MODULES).replace("SHOW", f"[==[{SHOW}]==]").replace("WRITE", f"[==[{WRITE}]==]")
    run = system.submit("leaks", lua.replace("URL", web.url).replace("HOST", f"127.0.0.1:{web.port}"))
    seen: dict[str, list[str]] = {}
    holders: set[str] = set()

    def is_held() -> bool:
        lines, now = processes(found)
        seen.setdefault("command lines", []).extend(lines)
        holders.update(now)
        return (bool(now) and "sleep" in now) or system.run(run)["ended_at"] is not None

    wait_for(is_held, 90, lambda: json.dumps(system.run(run)))
    for place, raw in (*broker(system), *files(system)):
        seen.setdefault(place, []).extend(found(raw))
    ended = system.finish(run)
    shown = system.cli("runs", "logs", run)
    told = list(system.client.lines(f"/runs/{run}/logs?format=ndjson"))
    logs = b"".join(path.read_bytes() for path in (system.folder / "home/logs").iterdir())
    rest = (("API", json.dumps(ended).encode()), ("CLI", shown.stdout.encode()), ("log", b"".join(told)), ("parts", logs))
    told_by_flower = list(flower(system))
    assert run.encode()[:8] in told_by_flower[0][1] or b"leaks#" in told_by_flower[0][1]
    for place, raw in (*database(system), *broker(system), *files(system), *rest, *told_by_flower):
        seen.setdefault(place, []).extend(found(raw))
    assert {place: forms for place, forms in seen.items() if forms} == {}
    assert holders <= {"python3", "python", "sh", "sleep", "cat"}
    ends = ["passed", "passed", "passed", "warned", "warned", "failed"]
    assert [stage["status"] for stage in ended["stages"]] == ends, shown.stdout
    (calls,) = [line for line in system.lines(run, "modules") if line.startswith("calls: ")]
    assert int(calls.split()[1]) > 300
    lines = system.lines(run, "tell")
    assert lines[:4] == ["***", "a *** b field=*** other=c***", "***\t***", "******"]
    assert lines.count("[***]") >= 20
    assert system.lines(run, "later")[-1] == "***"
    assert any("args: expected a text, given a table that holds a secret" in line for line in lines)
    used = system.query("SELECT stage, data->>'name' FROM record WHERE run_id = %s AND type = 'secret_used'", run)
    stages = ("later", "modules", "raises", "raises-it", "hold")
    for_masking = [(stage, name) for stage in stages for name in values]
    got = [(stage, name) for stage in ("tell", "modules") for name in values]
    got += [("raises", "LEAK_TOKEN"), ("raises-it", "LEAK_KEY"), ("hold", "LEAK_TOKEN")]
    assert sorted(used) == sorted(got + for_masking)


def test_a_secret_that_was_not_granted_or_is_not_there_fails_the_stage_with_the_command_to_run(system, tmp_path):
    (tmp_path / "value").write_text("a value of another pipeline")
    done = system.cli("secret", "set", "THEIRS", "--pipeline", "theirs", "--file", str(tmp_path / "value"))
    assert 'no pipeline "theirs" yet' in done.stderr
    for name, words in (("THEIRS", "was not granted"), ("NOWHERE", "has no secret")):
        lua = f"""pipeline = {{ name = "Ungranted", stages = {{ {{ name = "a", script = function()
          secrets.get("{name}")
        end }} }} }}"""
        run = system.finish(system.submit("ungranted", lua))
        error = run["stages"][0]["attempts"][0]["error"]
        assert (run["status"], run["stages"][0]["status"]) == ("failed", "failed")
        assert words in error["message"]
        assert f"rivet secret set {name} --pipeline ungranted" in error["message"]
        assert error["line"] == 2
