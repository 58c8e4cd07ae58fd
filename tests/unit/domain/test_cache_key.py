"""Keys of caches: texts, and never paths."""

import pytest

from rivet.domain.cache import checked_key
from rivet.domain.errors import InvalidInput


@pytest.mark.parametrize("key", ["deps", "deps/linux-3.11", "v1.2..3", ".cache", "a b", "linux/..."])
def test_a_key_may_have_dots_and_slashes(key):
    assert checked_key(key) == key


@pytest.mark.parametrize("key", ["..", ".", "../p2/shared", "a/../../b", "/tmp/x", "a/.", "", "a\nb", None, "x" * 513])
def test_a_key_that_would_lead_somewhere_as_a_path_is_refused(key):
    with pytest.raises(InvalidInput, match="key: expected"):
        checked_key(key)
