"""`make demo`, without the installing: a newcomer's first minute."""

from pathlib import Path

import pytest

from .conftest import Terminal


@pytest.mark.timeout(180)
def test_the_demo_ends_green_says_where_to_look_and_leaves_nothing(fresh: Terminal, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o755)
    done = fresh.rivet("demo", timeout_s=170, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "8 passed" in done.stdout
    assert "passed example-pipeline#1" in done.stdout
    assert "Where to look next" in done.stdout
    assert "Flower at http://127.0.0.1:" in done.stdout
    assert list(temporary.glob("rivet-demo-*")) == []
    assert not fresh.home.exists()
