"""Keys derived from one secret, one a purpose: they sign tickets and seal secrets; and tokens."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rivet.domain.errors import Conflict, InvalidInput, Unauthenticated
from rivet.domain.ids import Epoch, JobId, ProjectId, SessionId
from rivet.domain.secret import Sealed

_MIN_SECRET = 32
_VERSION = "v1"
_TICKET = struct.Struct(">16sI16sQ")
_MAX_TICKET = 200
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Ticket:
    """What lets a runner act for a job. `expires_at` is a Unix time in seconds."""

    job: JobId
    epoch: Epoch
    session: SessionId
    expires_at: float


class Keyring:
    """Every key of this installation, derived (HKDF-SHA-256) from its `secret_key`.

    Raises InvalidInput if the secret is shorter than 32 characters.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < _MIN_SECRET:
            raise InvalidInput(
                f"RIVET_SECRET_KEY has {len(secret_key)} characters; it needs {_MIN_SECRET} or more "
                "(`rivet up` makes one, or: openssl rand -hex 32)"
            )
        self._secret = secret_key.encode()

    def key(self, purpose: str) -> bytes:
        """32 bytes that no other purpose has."""
        return HKDF(
            algorithm=SHA256(), length=32, salt=b"rivet", info=purpose.encode()
        ).derive(self._secret)

    def tickets(self, clock: Callable[[], float] = time.time) -> "TicketSigner":
        return TicketSigner(self.key("ticket"), clock)

    def sealer(self, purpose: str) -> "Sealer":
        return Sealer(self.key(purpose))

    def vault(self) -> "SecretVault":
        return SecretVault(self.key("secrets"), self.secrets_key_id())

    def secrets_key_id(self) -> str:
        """The name of the key that seals secrets, which does not tell the key."""
        return self.key("name of the key of secrets").hex()[:16]


class TicketSigner:
    """Issues tickets, and reads those that it issued."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def issue(self, job: JobId, epoch: Epoch, session: SessionId, expires_at: float) -> str:
        """A ticket as text: `v1.<job, epoch, session, expiry>.<HMAC>`."""
        told = _text(_TICKET.pack(job.bytes, epoch, session.bytes, int(expires_at)))
        return f"{_VERSION}.{told}.{_text(self._seal(told))}"

    def read(self, text: str) -> Ticket:
        """The ticket. Raises Unauthenticated if it is not one of ours, or has expired."""
        version, _, rest = text.partition(".")
        told, _, seal = rest.partition(".")
        if version != _VERSION or len(text) > _MAX_TICKET or not text.isascii():
            raise Unauthenticated("this is no ticket; a claim's answer holds one")
        if not hmac.compare_digest(_text(self._seal(told)), seal):
            raise Unauthenticated("the ticket's seal is not ours: claim the job again")
        try:
            job, epoch, session, expires_at = _TICKET.unpack(_raw(told))
        except (struct.error, binascii.Error, ValueError) as error:
            raise Unauthenticated("this is no ticket; a claim's answer holds one") from error
        if expires_at <= self._clock():
            raise Unauthenticated("the ticket has expired")
        return Ticket(
            JobId(UUID(bytes=job)), Epoch(epoch), SessionId(UUID(bytes=session)), float(expires_at)
        )

    def _seal(self, told: str) -> bytes:
        return hmac.digest(self._key, f"{_VERSION}.{told}".encode(), "sha256")


class SecretVault:
    """Seals values of secrets with AES-GCM, each bound to its project and name."""

    def __init__(self, key: bytes, key_id: str) -> None:
        self._cipher = AESGCM(key)
        self._key_id = key_id

    def seal(self, value: bytes, project: ProjectId, name: str) -> Sealed:
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(self._key_id, nonce, self._cipher.encrypt(nonce, value, self._place(project, name)))

    def open(self, sealed: Sealed, project: ProjectId, name: str) -> bytes:
        """Raises Conflict where it was sealed under another key, or for another project or name."""
        if sealed.key_id != self._key_id:
            raise Conflict(
                f'secret "{name}" was sealed under another RIVET_SECRET_KEY (its key is {sealed.key_id}, the '
                f"present one {self._key_id}): set that key again, or set the secret anew"
            )
        try:
            return self._cipher.decrypt(sealed.nonce, sealed.data, self._place(project, name))
        except InvalidTag:
            raise Conflict(
                f'secret "{name}" cannot be opened: its row was damaged or moved; set the secret anew'
            ) from None

    def _place(self, project: ProjectId, name: str) -> bytes:
        return f"{_VERSION}\0{self._key_id}\0{project}\0{name}".encode()


class Sealer:
    """Seals bytes with AES-GCM, each bound to a place of which it is told."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes | None:
        """None where it was sealed under another key, or for another place."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            return None


def hash_token(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def new_token(kind: str) -> str:
    """A new token that says what it is for: `rvt_admin_…`, `rvt_runner_…`."""
    return f"rvt_{kind}_{secrets.token_urlsafe(32)}"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
