"""The API's operations as a page of documentation: tables in Markdown, read from the OpenAPI document."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

BEGIN, END = "<!-- begin: operations -->", "<!-- end: operations -->"


def with_operations(page: str, document: Any) -> str:
    """A page in which what stands between `BEGIN` and `END` are the document's operations, a table a tag."""
    within = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
    tables = "\n\n".join(_tables(document))
    return within.sub(lambda _: f"{BEGIN}\n{tables}\n{END}", page)


def _tables(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        rows = [
            f"| `{method.upper()} {path.removeprefix('/api/v1')}` | {operation['summary']} "
            f"| {_answers(operation)} |"
            for path, operations in sorted(document["paths"].items())
            for method, operation in operations.items()
            if tag["name"] in operation["tags"]
        ]
        head = [f"### {tag['name']}", "", tag["description"], "", "| operation | does | answers |"]
        yield "\n".join([*head, "| --- | --- | --- |", *rows])


def _answers(operation: Mapping[str, Any]) -> str:
    return ", ".join(status for status in sorted(operation["responses"]) if status[0] == "2")
