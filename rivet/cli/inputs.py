"""Inputs of a run as they are given by `-i`."""

from rivet.cli.failures import USAGE, Failed


def parse_inputs(given: tuple[str, ...]) -> dict[str, str]:
    """`name=value` as a table; the server knows their types. Raises Failed where there is no `=`."""
    parsed: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Failed(f"-i {text}: expected NAME=VALUE, as in -i target=staging", USAGE)
        if name in parsed:
            raise Failed(f"-i {name}: given twice", USAGE)
        parsed[name] = value
    return parsed
