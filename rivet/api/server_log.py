"""gunicorn's own log in the shape of ours. The process above the workers loads it, before the application."""

import os
from typing import Any

from gunicorn.glogging import Logger

from rivet.telemetry.logs import formatter


class ServerLog(Logger):
    """`--logger-class rivet.api.server_log.ServerLog`: RIVET_LOG_FORMAT of the environment says how."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        form = formatter("json" if os.environ.get("RIVET_LOG_FORMAT") == "json" else "text")
        for handler in self.error_log.handlers:
            handler.setFormatter(form)
