"""Keys, tickets and tokens."""

import base64
import uuid
from dataclasses import replace

import pytest

from rivet.domain.errors import Conflict, InvalidInput, Unauthenticated
from rivet.keyring import Keyring, Ticket, hash_token, new_token

SECRET = "s" * 32
JOB, SESSION = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def clock():
    """A clock that stands still until it is set."""
    now = [1_000.0]

    def read():
        return now[0]

    read.now = now
    return read


def test_a_ticket_says_what_was_put_into_it(clock):
    signer = Keyring(SECRET).tickets(clock)
    text = signer.issue(JOB, 3, SESSION, 2_000.0)
    assert text.startswith("v1.")
    assert signer.read(text) == Ticket(JOB, 3, SESSION, 2_000.0)


def test_a_ticket_ends_with_its_time(clock):
    signer = Keyring(SECRET).tickets(clock)
    text = signer.issue(JOB, 3, SESSION, 1_001.0)
    signer.read(text)
    clock.now[0] = 1_001.0
    with pytest.raises(Unauthenticated, match="expired"):
        signer.read(text)


def test_another_installation_s_ticket_is_refused(clock):
    text = Keyring("t" * 32).tickets(clock).issue(JOB, 1, SESSION, 2_000.0)
    with pytest.raises(Unauthenticated, match="seal"):
        Keyring(SECRET).tickets(clock).read(text)


def test_no_byte_of_a_ticket_can_be_changed(clock):
    signer = Keyring(SECRET).tickets(clock)
    text = signer.issue(JOB, 1, SESSION, 2_000.0)
    for place in range(len(text)):
        for other in "A.b9":
            forged = text[:place] + other + text[place + 1 :]
            if forged == text:
                continue
            with pytest.raises(Unauthenticated):
                signer.read(forged)


@pytest.mark.parametrize("text", ["", "v1", "v1..", "v2.a.b", "v1.é.b", "v1." + "a" * 300, "rvt_x", "..."])
def test_what_is_no_ticket_is_refused(text, clock):
    with pytest.raises(Unauthenticated):
        Keyring(SECRET).tickets(clock).read(text)


def test_keys_of_two_purposes_differ_and_stay_the_same():
    keyring = Keyring(SECRET)
    assert keyring.key("ticket") == Keyring(SECRET).key("ticket")
    assert keyring.key("ticket") != keyring.key("session")
    assert len(keyring.key("ticket")) == 32


def test_a_short_secret_is_refused_with_the_way_out():
    with pytest.raises(InvalidInput, match="RIVET_SECRET_KEY has 5 characters"):
        Keyring("short")


def test_tokens_are_random_say_their_kind_and_are_kept_as_hashes():
    first, second = new_token("admin"), new_token("admin")
    assert first != second
    assert first.startswith("rvt_admin_")
    assert len(base64.urlsafe_b64decode(first.removeprefix("rvt_admin_") + "=")) == 32
    assert len(hash_token(first)) == 32
    assert hash_token("\udc80") != hash_token(first)


PROJECT = uuid.uuid4()


def test_what_a_vault_seals_it_opens_and_never_seals_alike():
    vault = Keyring(SECRET).vault()
    value = b"any\x00bytes\xff" * 100
    first, second = (vault.seal(value, PROJECT, "TOKEN") for _ in range(2))
    assert vault.open(first, PROJECT, "TOKEN") == vault.open(second, PROJECT, "TOKEN") == value
    assert first.data != second.data
    assert value not in first.data


def test_a_sealed_value_opens_in_its_own_place_alone():
    vault = Keyring(SECRET).vault()
    sealed = vault.seal(b"value", PROJECT, "TOKEN")
    for project, name in ((PROJECT, "OTHER"), (uuid.uuid4(), "TOKEN")):
        with pytest.raises(Conflict, match="damaged or moved"):
            vault.open(sealed, project, name)
    with pytest.raises(Conflict, match="damaged or moved"):
        vault.open(replace(sealed, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])), PROJECT, "TOKEN")


def test_a_sealed_value_names_the_key_that_it_needs():
    sealed = Keyring(SECRET).vault().seal(b"value", PROJECT, "TOKEN")
    other = Keyring("t" * 32).vault()
    with pytest.raises(Conflict, match=f"its key is {sealed.key_id}.*RIVET_SECRET_KEY|RIVET_SECRET_KEY.*{sealed.key_id}"):
        other.open(sealed, PROJECT, "TOKEN")
