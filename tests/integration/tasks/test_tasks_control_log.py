"""What a control process writes: every line a record, and none with a password."""

import json
import os
import signal
import subprocess
import time

from rivet.wiring.commands import control_command

SAID_IN_A_SIGNAL = "worker: Warm shutdown (MainProcess)"
"""Celery's handler of SIGTERM writes it past every log."""


def test_control_logs_json_alone_and_no_secret(database_url, redis_url, redis_server, tmp_path):
    argv, environment = control_command()
    log = tmp_path / "control.log"
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log.open("ab"), stderr=subprocess.STDOUT, cwd=tmp_path,
        env=environment | {
            "PATH": os.environ["PATH"], "RIVET_HOME": str(tmp_path), "RIVET_SECRET_KEY": "k" * 64,
            "RIVET_DATABASE_URL": database_url, "RIVET_BROKER_URL": redis_url, "RIVET_LOG_FORMAT": "json",
            "RIVET_LOG_LEVEL": "debug",
        },
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while "ready." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
    lines = log.read_text().splitlines()
    lines.remove(SAID_IN_A_SIGNAL)
    records = [json.loads(line) for line in lines if line]
    assert any(record["logger"] == "celery.apps.worker" for record in records)
    assert all({"at", "level", "logger", "message"} <= record.keys() for record in records)
    assert redis_server.password not in log.read_text()
