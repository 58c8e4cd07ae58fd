"""How long from a cancellation, or from a death, to the end of the run."""

import time
from collections.abc import Callable

import psutil

from .site import Site

LISTENS = 'process.run{command="bash", args={"-c", "echo here; while :; do sleep 0.05; done"}}'
STUBBORN = (
    'process.run{command="bash", args={"-c", "trap \\"\\" TERM; echo here; while :; do sleep 0.05; done"}}'
)
LOOPS = 'log.info("here") local n = 0 while true do n = n + 1 end'


def cancelled(script: str) -> Callable[[Site], float]:
    """From the request to the end `cancelled`."""

    def measure(site: Site) -> float:
        run_id = site.at_work(script)
        began = time.monotonic()
        site.home.client.call("POST", f"/runs/{run_id}/cancel", {})
        return _took(site, run_id, began, {"cancelled"})

    return measure


def slot_killed(site: Site) -> float:
    run_id = site.at_work(LISTENS)
    began = time.monotonic()
    site.slot_of(run_id).kill()
    took_s = _took(site, run_id, began, {"errored"})
    site.until_well()
    return took_s


def runner_killed(site: Site) -> float:
    """With nobody to start it again meanwhile: `rivet up` is stopped until the run has ended."""
    run_id = site.at_work(LISTENS)
    up = psutil.Process(site.plant.state()["pid"])
    up.suspend()
    try:
        began = time.monotonic()
        site.plant.part("runner").kill()
        took_s = _took(site, run_id, began, {"errored"})
    finally:
        up.resume()
    site.until_well()
    return took_s


def _took(site: Site, run_id: str, began: float, ends: set[str]) -> float:
    run = site.ended(run_id)
    took_s = time.monotonic() - began
    if run["status"] not in ends:
        raise AssertionError(f"run {run_id} ended {run['status']}, reason {run['reason']}")
    return took_s


MEASURES: dict[str, Callable[[Site], float]] = {
    "cancel, a process that listens": cancelled(LISTENS),
    "cancel, a process that ignores SIGTERM (grace of 10 s)": cancelled(STUBBORN),
    "cancel, a loop in Lua": cancelled(LOOPS),
    "slot killed, to the run's end": slot_killed,
    "runner killed and not started again, to the run's end": runner_killed,
}
