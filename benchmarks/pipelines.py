"""The pipelines that are measured."""


def stages_of(name: str, count: int, script: str) -> str:
    """One job of `count` stages that all do the same."""
    return (
        f"local stages = {{}} for n = 1, {count} do stages[n] = "
        f'{{ name = "s" .. n, script = function() {script} end }} end '
        f'pipeline = {{ name = "{name}", stages = stages }}'
    )


TRUE = 'process.run{ command = "true" }'
HELLO = stages_of("Hello", 1, 'log.info("hello")')
COMMAND = stages_of("Command", 1, TRUE)
CHAIN = stages_of("Chain", 20, 'log.info("hello")')
