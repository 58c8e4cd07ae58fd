"""A token for `git.clone`: git gets it from a file that only the room of one fetch has.

It stands in no argument, variable or configuration, and is not in the workspace; where rooms have files of
their own, it is in memory alone. The folder's own
configuration may have been written by anyone: what of it could start a program in that room is overruled.
"""

import shlex
from urllib.parse import urlsplit

from rivet.runner.git_submodules import GitFailed

FILE = "credential"
USER = b"x-access-token"
MOST_BYTES = 16 * 1024


def arguments(ours: str) -> list[str]:
    """Behind an empty `credential.helper`, which makes git forget those that the folder names.

    `ours` is the room's folder of our own files.
    """
    path = shlex.quote(f"{ours}/{FILE}")
    return ["-c", f'credential.helper=!f() {{ test "$1" = get && cat {path}; }}; f']


def files(token: bytes) -> dict[str, bytes]:
    """What the room of the fetch has besides. Raises GitFailed for what is no token."""
    plain = token.strip()
    if not plain or len(plain) > MOST_BYTES or any(byte < 0x20 or byte == 0x7F for byte in plain):
        raise GitFailed(
            f"git.clone: token: expected one line of text of at most {MOST_BYTES} bytes; "
            "what was given is empty, longer, or holds control characters"
        )
    return {FILE: b"username=" + USER + b"\npassword=" + plain + b"\n"}


def is_for(url: str, parent_url: str) -> bool:
    """Whether a submodule's URL may have its parent's token: only on the very same server."""
    ours, theirs = urlsplit(parent_url), urlsplit(url)
    return (ours.scheme, ours.netloc.lower()) == (theirs.scheme, theirs.netloc.lower())


def refusal(said: str, *, has_token: bool) -> str:
    """What may help where a server wants to know who asks."""
    if not any(words in said for words in ("could not read Username", "Authentication failed", "askpass")):
        return ""
    if has_token:
        return ". The token was not accepted: it may have expired, or may not be for this repository"
    return '. It may be a repository that is not for everyone: git.clone takes a token = secrets.get("…")'
