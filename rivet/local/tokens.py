"""The tokens that a home begins with: of its first admin, and of its own runner."""

import secrets

from rivet.local.home import Home, kept_secret


def admin_token(home: Home) -> str:
    """The text of the first admin's token, made on first use."""
    return kept_secret(home.admin_token, lambda: f"rvt_admin_{secrets.token_urlsafe(32)}")


def runner_token(home: Home) -> str:
    """The text of the local runner's token, made on first use."""
    return kept_secret(home.runner_token, lambda: f"rvt_runner_{secrets.token_urlsafe(32)}")
