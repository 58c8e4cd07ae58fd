"""Texts that must not come out anywhere, and every form in which they are looked for."""

import base64
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

LEAST_BYTES = 12


def marked(word: str) -> str:
    """A text nobody else has, which begins with its word, as cases look for it by."""
    return f"{word}_{secrets.token_hex(8)}"


@dataclass(slots=True)
class Canaries:
    """By name, what must not be told. `add` more of them while the system comes up."""

    texts: dict[str, str] = field(
        default_factory=lambda: {
            word: marked(word) for word in ("CANARY_DB", "CANARY_BROKER", "CANARY_HOST", "CANARY_OTHER_RUN", "CANARY_HTTP")
        }
        | {
            "secret CANARY_TOKEN": f"{marked('CANARY+granted/')}=%7 \"q\"",
            "secret OTHER_PROJECT_TOKEN": f"{marked('CANARY-of-others')}!",
        }
    )

    def __getitem__(self, name: str) -> str:
        return self.texts[name]

    def add(self, name: str, text: str) -> None:
        self.texts[name] = text

    def renew(self, name: str) -> None:
        """Another text for it; the old one is still looked for."""
        old = self.texts[name]
        self.texts[f"an earlier {name} {len(self.texts)}"] = old
        self.texts[name] = marked(name)

    def found_in(self, data: bytes) -> list[str]:
        """Which canaries stand in it, and in which form."""
        small = data.lower()
        found = []
        for name, text in self.texts.items():
            for form, needle in forms(text):
                if needle in (small if form.startswith("hex") else data):
                    found.append(f"{name} ({form})")
                    break
        return found


def forms(text: str) -> list[tuple[str, bytes]]:
    """The text as it is, reversed, in hex, for a URL, in JSON, and in base64 at each offset."""
    raw = text.encode()
    found = [("plain", raw), ("reversed", raw[::-1]), ("hex", raw.hex().encode())]
    found += [("hex with colons", raw.hex(":").encode())]
    for shown in {quote(text, safe=""), quote(text), quote_plus(text)} - {text}:
        found += [("url", shown.encode()), ("url", shown.lower().encode())]
    if '"' in text:
        found.append(("json", text.replace('"', '\\"').encode()))
    for offset in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            packed = encode(b"\0" * offset + raw).rstrip(b"=")
            # What stands beside the text changes the first and the last characters.
            core = packed[(0, 2, 3)[offset] : -1]
            if len(core) >= LEAST_BYTES:
                found.append((f"{name}, offset {offset}", core))
    return found
