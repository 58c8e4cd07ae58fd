"""Blobs: where bytes are in their pieces, and manifests of strangers."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.blobs.piece import packed, unpacked
from rivet.domain.blob import PIECE_BYTES, Manifest, shown_size
from rivet.domain.errors import InvalidInput

DIGEST = hashlib.sha256(b"").hexdigest()


@given(st.integers(1, 5 * PIECE_BYTES), st.data())
def test_every_byte_of_a_range_is_in_one_part_and_in_order(size, data):
    manifest = Manifest(size, DIGEST, tuple(str(place) for place in range(-(-size // PIECE_BYTES))))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    at = first
    for part in manifest.parts(first, last):
        assert int(part.digest) * PIECE_BYTES + part.start == at
        assert part.stop > part.start
        at += part.stop - part.start
    assert at == last + 1


def test_a_manifest_is_the_same_when_it_was_sent_and_stored():
    manifest = Manifest(PIECE_BYTES + 1, DIGEST, (DIGEST, "0" * 64))
    assert Manifest.read(manifest.as_dict()) == manifest
    stored = Manifest.of_stored(manifest.size, bytes.fromhex(DIGEST), manifest.packed_pieces())
    assert stored == manifest


@pytest.mark.parametrize(
    "told",
    [
        None, [], {}, {"size": -1, "sha256": DIGEST, "pieces": []}, {"size": True, "sha256": DIGEST, "pieces": [DIGEST]},
        {"size": 1, "sha256": DIGEST, "pieces": []}, {"size": 1, "sha256": "x", "pieces": [DIGEST]},
        {"size": 1, "sha256": DIGEST, "pieces": [DIGEST.upper()]}, {"size": 1, "sha256": DIGEST, "pieces": [None]},
        {"size": 2**70, "sha256": DIGEST, "pieces": [DIGEST] * 3},
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(told):
    with pytest.raises(InvalidInput):
        Manifest.read(told)


def test_a_piece_that_unpacks_to_more_than_a_piece_is_refused_before_it_does():
    assert unpacked(packed(b"x" * PIECE_BYTES)) == b"x" * PIECE_BYTES
    with pytest.raises(InvalidInput, match="must say its size"):
        unpacked(packed(b"x" * (PIECE_BYTES + 1)))


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**31, "2.0 GiB"), (2**43, "8192.0 GiB")]
)
def test_sizes_are_told_in_words(size, told):
    assert shown_size(size) == told
