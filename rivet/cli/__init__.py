"""The command `rivet`: its commands by name, each loaded only when it is called, and its exit codes."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from rivet import __version__

COMMANDS = {
    "up": ("rivet.local.up:up", "Start the whole system on this machine."),
    "down": ("rivet.local.down:down", "Stop what `rivet up` started."),
    "status": ("rivet.local.status:status", "Show what runs on this machine, and its health."),
    "doctor": ("rivet.cli.doctor:doctor", "Say what this machine offers, and how to mend what is missing."),
    "init": ("rivet.cli.init:init", "Write a starter pipeline, and stubs for the editor."),
    "check": ("rivet.cli.check:check", "Validate pipeline files without a server."),
    "run": ("rivet.cli.run:run", "Start a run and follow its log live."),
    "project": ("rivet.cli.project:project", "Create, list and delete projects."),
    "pipeline": ("rivet.cli.pipeline:pipeline", "Stored pipelines and their versions."),
    "runs": ("rivet.cli.all_runs:runs", "List, show, cancel and rerun runs, and read their logs."),
    "runner": ("rivet.cli.runner:runner", "Start a runner, list runners, make tokens for them."),
    "queue": ("rivet.cli.queue:queue", "What waits in the queues, and pausing them."),
    "artifact": ("rivet.cli.artifact:artifact", "List and download what runs have kept."),
    "secret": ("rivet.cli.secret:secret", "Set, list and delete secrets, and say who may use them."),
    "plan": ("rivet.cli.plan:plan", "Show what a run would do: stages, jobs, calls. It runs nothing."),
    "login": ("rivet.cli.login:login", "Sign in to a server, and remember it as a context."),
    "context": ("rivet.cli.context:context", "The servers you have signed in to, and which is in use."),
    "completion": ("rivet.cli.completion:completion", "Print what a shell needs to complete `rivet`."),
    "migrate": ("rivet.cli.parts:migrate", "Bring the database to this version's schema."),
    "backup": ("rivet.local.backup:backup", "Write everything into one file, while runs go on."),
    "restore": ("rivet.local.restore:restore", "Restore a backup into an empty home or database."),
    "serve": ("rivet.cli.parts:serve", "Serve the API."),
    "control": ("rivet.cli.parts:control", "Run control: it settles, ingests and keeps up."),
    "flower": ("rivet.cli.parts:flower", "Serve Flower, the monitor of Celery's workers."),
    "demo": ("rivet.local.demo:demo", "Start everything, run an example pipeline, and stop again."),
}
"""Where each command is, and what `rivet --help` says of it without loading it."""


class LoadedWhenCalled(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; `rivet --help` lists them."
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


@click.group(cls=LoadedWhenCalled, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rivet")
def cli() -> None:
    """Rivet runs CI/CD pipelines that are sandboxed Lua scripts.

    Example: rivet run pipeline.lua

    The server is looked for in RIVET_URL, in the current context, then in what `rivet up` started. Exit
    codes: 0 the run passed; 1 it failed or timed out; 2 wrong usage, an invalid pipeline, an unknown name;
    3 the server cannot be reached; 4 the run was cancelled; 5 it errored, by our fault; 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code. Whatever goes wrong is one message, never a traceback."""
    sys.exit(_main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    try:
        result: Any = cli.main(arguments, prog_name="rivet", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.write("\nrivet: interrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is to be said to them any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence against a traceback
        from rivet.cli.failures import in_words

        message, code = in_words(error)
        sys.stderr.write(f"Error: {message}\n")
    return code
