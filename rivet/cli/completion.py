"""`rivet completion`: what a shell needs to complete commands, options, pipelines and runs."""

import click

VARIABLE = "_RIVET_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete `rivet`, names of pipelines and runs included.

    In ~/.bashrc: eval "$(rivet completion bash)"; in ~/.zshrc the same with zsh; for fish:
    rivet completion fish > ~/.config/fish/completions/rivet.fish

    Example: rivet completion bash
    """
    from click.shell_completion import get_completion_class

    from rivet.cli import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} cannot be completed by this version of click")
    click.echo(found(cli, {}, "rivet", VARIABLE).source())
