"""Every reader of strangers' bytes, on bytes that hypothesis makes up: some any, some nearly right."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rivet.domain.definition_rules import PIPELINE_FIELDS
from rivet.domain.secret import Opaque, Reference
from rivet.domain.stage_rules import STAGE_FIELDS
from rivet.sandbox.frames import pack
from tests.fuzz.targets import SECRETS, SEEDS, TARGETS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS | st.binary(max_size=8)
NAMES = st.sampled_from([*PIPELINE_FIELDS, *STAGE_FIELDS, "memory", "network", "hosts", "type", "group", "key"])
TABLES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXTS | st.integers(-3, 9), inner, max_size=6),
    max_leaves=25,
)
ANSWERS = st.builds(
    lambda kind, ident, number, rest: (body := b"%s %d %d\n" % (kind, ident, number) + rest) and len(body).to_bytes(4, "big") + body,
    st.sampled_from([b"started", b"ended", b"answer", b"error", b"over", b"ready", b"failed", b"other"]),
    st.integers(-2, 2**40), st.integers(-(2**70), 2**70), st.binary(max_size=30),
)  # fmt: skip
HEADS = st.builds(
    lambda method, target, headers, rest: method + b" " + target + b" HTTP/1.1\r\n" + b"".join(
        name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + rest,
    st.sampled_from([b"GET", b"CONNECT", b"POST", b"\xb2"]),
    st.sampled_from([b"http://a/", b"a:80", b"a:\xb2", b"[::1]:1", b"http://[", b"/"]) | st.binary(max_size=12),
    st.lists(st.tuples(
        st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"X"]) | st.binary(max_size=5),
        st.sampled_from([b"5", b"chunked", b"-1", b"\xb2", b"99999999999999"]) | st.binary(max_size=8)), max_size=4),
    st.sampled_from([b"3\r\nabc\r\n0\r\n\r\n", b"\xb2\r\n", b"5;x\r\n"]) | st.binary(max_size=30),
)  # fmt: skip
LIKELY = {
    "frames": TABLES.map(lambda value: pack(value)[4:]),
    "definition": st.dictionaries(NAMES, TABLES, max_size=8).map(lambda value: pack(value)[4:]),
    "agent": st.lists(ANSWERS, max_size=4).map(b"".join),
    "log": st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b"x" * 66_000]), max_size=9).map(b"".join),
    "proxy": HEADS,
    "mask": st.lists(st.binary(max_size=10) | st.sampled_from([secret[:7] for secret in SECRETS]), max_size=9).map(b"".join),
}
SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_with_breaks_no_reader(name):
    for seed in SEEDS[name]:
        TARGETS[name](seed)


def test_a_definition_with_a_secret_in_it_which_only_a_child_that_lies_sends_is_refused_or_taken():
    """Found by fuzzing: its digest could not be made."""
    TARGETS["definition"](pack(Opaque((b"x", Reference("NAME"))))[4:])
    TARGETS["definition"](pack({"name": Opaque((b"x",)), "stages": [{"name": Opaque((b"y",))}]})[4:])


@pytest.mark.parametrize("name", TARGETS)
@SOME
@given(data=st.data())
def test_no_bytes_break_a_reader(name, data):
    TARGETS[name](data.draw(LIKELY[name] | st.binary(max_size=300)))
