"""Before the parts start: the database's schema, and the tokens of the first admin and of the first runner.

    python -m rivet.local.prepare

A process of its own, so that the supervisor stays small. It is told everything by its environment. What was
prepared before, as on every start but the first, is seen without loading what prepares.
"""

import os
import sys
from pathlib import Path

from rivet.domain.errors import RivetError
from rivet.local.home import Home, HomeUnusable
from rivet.local.prepared import is_prepared
from rivet.local.tokens import admin_token, runner_token


def main() -> int:
    """Migrate, and make the tokens known. Returns the exit code; what went wrong is printed for the log."""
    home = Home(Path(os.environ["RIVET_HOME"]))
    try:
        if is_prepared(os.environ["RIVET_DATABASE_URL"], (admin_token(home), runner_token(home))):
            return 0
        from rivet.wiring.schema import ensure_token, migrate
        from rivet.wiring.settings import Settings

        settings = Settings()
        migrate(settings.database_url)
        ensure_token(settings.database_url, kind="admin", name="local admin", token=admin_token(home))
        ensure_token(
            settings.database_url,
            kind="runner",
            name=f"local runner for {', '.join(settings.queues)}",
            token=runner_token(home),
            queues=settings.queues,
        )
    except (RivetError, HomeUnusable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
