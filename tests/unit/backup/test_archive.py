"""The file of a backup: what was written comes back, and whatever was changed in it is noticed."""

import random
import tarfile
from dataclasses import replace

import pytest
import zstandard

from rivet.backup import archive
from rivet.backup.archive import FORMAT, ArchiveReader, ArchiveWriter, Damaged, Header
from rivet.domain.errors import InvalidInput

HEADER = Header("0.1.0", "0016", "2026-01-01T00:00:00+00:00", {"run": ["id"]}, ["k"])
MEMBERS = {"tables/run/000001": b"a row\n" * 1000, "tables/run/000002": b"", "pieces/p/d": random.Random(1).randbytes(50_000)}


@pytest.fixture
def written(tmp_path):
    def write(header=HEADER):
        path = tmp_path / "backup"
        with path.open("wb") as file:
            writer = ArchiveWriter(file, header)
            for name, data in MEMBERS.items():
                writer.add(name, data)
            writer.close()
        return path

    return write


def verified(path) -> Header:
    return ArchiveReader(path).verify(lambda _: None)


def test_what_was_written_comes_back_in_order(written):
    path = written()
    read = 0

    def count(more):
        nonlocal read
        read += more

    assert ArchiveReader(path).verify(count) == HEADER
    assert path.stat().st_size - read == archive._SEAL.size
    found = {member.name: member.data for member in ArchiveReader(path).members()}
    assert list(found) == [archive.HEADER, *MEMBERS, archive.DIGESTS]
    assert {name: found[name] for name in MEMBERS} == MEMBERS


def test_it_is_a_tar_packed_with_zstd(written):
    with zstandard.open(written()) as unpacked, tarfile.open(mode="r|", fileobj=unpacked) as tar:
        assert [entry.name for entry in tar][1:-1] == list(MEMBERS)


def test_a_file_that_was_cut_off_is_refused_wherever_that_was(written, tmp_path):
    whole = written().read_bytes()
    cut = tmp_path / "cut"
    for length in (0, 1, 39, 40, 41, len(whole) // 2, len(whole) - 41, len(whole) - 40, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            verified(cut)
    cut.write_bytes(whole + b"x")
    with pytest.raises(Damaged):
        verified(cut)


def test_a_single_bit_that_changed_is_noticed_wherever_it_is(written, tmp_path):
    whole = written().read_bytes()
    flipped = tmp_path / "flipped"
    places = [*range(60), *range(len(whole) - 60, len(whole)), *random.Random(2).sample(range(len(whole)), 100)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        flipped.write_bytes(changed)
        with pytest.raises(Damaged):
            verified(flipped)


def test_another_file_is_no_backup(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"hello" * 100)
    with pytest.raises(Damaged, match="no whole backup of Rivet"):
        verified(path)


def test_a_member_that_is_another_than_the_digests_say_is_noticed_though_the_seal_is_right(written, monkeypatch):
    write = ArchiveWriter._write
    monkeypatch.setattr(ArchiveWriter, "_write", lambda self, name, data: write(self, name, data.replace(b"a row", b"A row")))
    with pytest.raises(Damaged, match="digests"):
        verified(written())


def test_a_format_that_is_to_come_is_refused_with_the_version_that_reads_it(written):
    with pytest.raises(InvalidInput, match=r"Rivet 9\.0\.0 or newer"):
        verified(written(replace(HEADER, format=FORMAT + 1, rivet="9.0.0")))
