"""The secret key of this machine's system, for commands that look at it."""

from rivet.local.home import Home
from rivet.wiring.settings import Settings


def key_at_hand(settings: Settings, home: Home) -> str | None:
    """That of RIVET_SECRET_KEY, or that of the home; None if there is neither."""
    if settings.secret_key:
        return settings.secret_key
    try:
        return home.secret_key.read_text().strip() or None
    except FileNotFoundError:
        return None
