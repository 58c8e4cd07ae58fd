"""How long from the end of an outage to the end of a run that is submitted right then."""

import time
from collections.abc import Callable

from rivet.client import ApiProblem

from .site import ECHO, Site, pipeline

STOPPED_S = 10.0
REFUSED_S = 3.0


def next_run(site: Site) -> float:
    """Submit one, and see it pass."""
    began = time.monotonic()
    run = site.ended(site.submit(ECHO))
    took_s = time.monotonic() - began
    if run["status"] != "passed":
        raise AssertionError(f"run {run['id']} ended {run['status']}, reason {run['reason']}")
    return took_s


def killed(part: str) -> Callable[[Site], float]:
    """From the SIGKILL on: `rivet up` starts it again."""

    def measure(site: Site) -> float:
        site.plant.part(part).kill()
        took_s = next_run(site)
        site.until_well()
        return took_s

    return measure


def stopped(part: str) -> Callable[[Site], float]:
    """The part and its children stand still; a run under way goes through all of it."""

    def measure(site: Site) -> float:
        leader = site.plant.part(part)
        processes = [leader, *leader.children(recursive=True)]
        under_way = site.submit(ECHO)
        for process in processes:
            process.suspend()
        time.sleep(STOPPED_S)
        for process in reversed(processes):
            process.resume()
        took_s = next_run(site)
        if (run := site.ended(under_way))["status"] != "passed":
            raise AssertionError(f"run {under_way} ended {run['status']}, reason {run['reason']}")
        site.until_well()
        return took_s

    return measure


def flushed(site: Site) -> float:
    site.plant.redis().flushall()
    return next_run(site)


def redis_full(site: Site) -> float:
    client = site.plant.redis()
    client.config_set("maxmemory", "1")
    time.sleep(REFUSED_S)
    client.config_set("maxmemory", "0")
    return next_run(site)


def read_only(site: Site) -> float:
    """What writes is refused meanwhile, and says when to come again."""
    site.plant.set_read_only(True)
    time.sleep(REFUSED_S)
    status = 202
    try:
        site.home.submit("measured", pipeline(ECHO))
    except ApiProblem as problem:
        status = problem.status
    site.plant.set_read_only(False)
    if status != 503:
        raise AssertionError(f"a submission to a read-only database was answered {status}")
    return next_run(site)


MEASURES: dict[str, Callable[[Site], float]] = {
    "nothing happened": next_run,
    "API killed": killed("api"),
    "control killed": killed("control"),
    "PostgreSQL killed": killed("postgresql"),
    "Redis killed": killed("redis"),
    "Redis flushed": flushed,
    f"Redis full for {REFUSED_S:g} s": redis_full,
    f"PostgreSQL read-only for {REFUSED_S:g} s": read_only,
    f"API stopped for {STOPPED_S:g} s": stopped("api"),
    f"control stopped for {STOPPED_S:g} s": stopped("control"),
    f"PostgreSQL stopped for {STOPPED_S:g} s": stopped("postgresql"),
    f"Redis stopped for {STOPPED_S:g} s": stopped("redis"),
}
