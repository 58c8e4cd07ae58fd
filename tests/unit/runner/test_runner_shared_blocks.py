"""Whether a disk shares blocks is tried, and leaves nothing behind."""

import os
import subprocess

import pytest

from rivet.runner.shared_blocks import shares_blocks


def test_it_says_what_cp_finds_and_leaves_nothing(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 10_000)
    done = subprocess.run(["cp", "--reflink=always", "one", "two"], cwd=tmp_path, capture_output=True, check=False)
    before = sorted(os.listdir(tmp_path))
    assert shares_blocks(tmp_path) == (done.returncode == 0)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        shares_blocks(tmp_path / "nowhere")
