"""The weak configurations: what each is weak in. What it is not weak in, it refuses or does as Rivet does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weakness:
    """`processes` is `none`, `plain` (a subprocess of the host) or `shut in` (a sandbox with a hole).

    `modules` does git, http, caches, artifacts and files without any check; `secrets` hands them out as plain
    texts; `masks` and `escapes` say what becomes of a line of the log; without `filters` every attribute
    of what is handed to Lua can be read; `by_shell`, commands are put together as text, and inherit descriptors.
    """

    name: str
    means: str
    processes: str = "none"
    passes_environment: bool = False
    shares_network: bool = False
    modules: bool = False
    secrets: bool = False
    masks: bool = True
    escapes: bool = True
    filters: bool = True
    by_shell: bool = False


CONTROLS = (
    Weakness("plain-lupa", "lupa as it comes, with the documented filter of attributes, in a process without limits"),
    Weakness("unfiltered-lupa", "lupa as it comes, without any filter", filters=False),
    Weakness("plain-subprocess", "processes of the host, in a clean environment", processes="plain"),
    Weakness("shared-network", "a sandbox of its own, but on the host's network", processes="shut in", shares_network=True),
    Weakness("passed-environment", "a sandbox of its own, with the runner's environment", processes="shut in", passes_environment=True),
    Weakness("by-shell", "commands as a text that a shell reads, which inherit what the runner has open", processes="plain", by_shell=True),
    Weakness("trusting-modules", "git, http, files, caches and artifacts that check nothing", processes="plain", modules=True),
    Weakness("no-masking", "secrets as plain texts, and a log that takes every byte as it is", processes="plain", secrets=True, masks=False, escapes=False),
)  # fmt: skip
