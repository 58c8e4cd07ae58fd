"""Where git may clone from: what is no folder that the operator allows is refused, however it is spelled."""

import pytest

from rivet.runner.git import GitFailed, find_source
from rivet.runner.reach import ReachPolicy


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/1/cwd", "/a%00b", "/", "/nowhere"])
def test_a_path_that_cannot_even_be_resolved_is_refused_like_any_other(path, tmp_path):
    with pytest.raises(GitFailed, match="is not beneath a folder that this runner allows"):
        find_source(f"file://{path}", ReachPolicy(allow_paths=(str(tmp_path),)))
