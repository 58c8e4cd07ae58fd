"""The Lua module `time`: the runner's clock."""

import time
from datetime import UTC, datetime

from rivet.modules.contract import Call, CallError, Duration, StageContext, about

_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


class Now(Call, module="time"):
    """Seconds since 1970-01-01 00:00 UTC, with their fraction."""

    example = "local begun = time.now()"

    def act(self, stage: StageContext) -> float:
        return time.time()


class Iso(Call, module="time", short=("seconds",)):
    """A time as ISO 8601 in UTC, to the second: `2026-01-31T12:00:00Z`."""

    seconds: float | None = about(
        "seconds since 1970; now if absent", default=None, minimum=0, maximum=_LAST_SECOND
    )
    example = 'log.info("built at " .. time.iso())'

    def act(self, stage: StageContext) -> str:
        moment = datetime.fromtimestamp(time.time() if self.seconds is None else self.seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Sleep(Call, module="time", short=("seconds",)):
    """Wait. It counts against the stage's time, and ends at once when the stage is stopped."""

    seconds: Duration | float = about('how long: 0.5, "90s", "2m"', minimum=0)
    example = "time.sleep(0.5)"

    def act(self, stage: StageContext) -> None:
        if self.seconds > 366 * 86400:
            raise CallError("time.sleep: seconds: expected at most a year; no stage lives as long")
        stage.pause(self.seconds)
