"""Where in a Lua file a value of its evaluated table was written.

An evaluated table has no lines, the parse tree has no values: a path such as `stages[2].timeout` is walked
through the tree. Local names and assignments such as `pipeline.timeout = 5` at the top of the file are
followed; a value that code has made gets the place of the nearest literal around it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_lua
from tree_sitter import Language, Node, Parser

from rivet.domain.ids import Path

MOST_BYTES = 512 * 1024
PARSE_S = 0.5
_LUA = Language(tree_sitter_lua.language())
_MAX_ALIASES = 16

_Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value in the file, the name it was written under, and the variable paths that lead to it."""

    name: Node
    value: Node
    aliases: tuple[_Keys, ...] = ()


class Places:
    """The places of one file; lines and columns (in characters) count from 1.

    Of a file over MOST_BYTES, or that takes longer than PARSE_S to parse, only lines are known.
    """

    def __init__(self, source: bytes) -> None:
        self._lines = source.split(b"\n")
        self._assigned: dict[_Keys, _Entry] = {}
        self._fields: dict[int, dict[str | int, tuple[Node, Node]]] = {}
        self._returned: Node | None = None
        self._errors: list[tuple[int, int]] = []
        root = _parsed(source) if len(source) <= MOST_BYTES else None
        if root is not None:
            self._read_top(root)
            self._errors = [(node.start_point.row, node.start_point.column) for node in _broken(root)]

    def of(self, path: Path, *, name: bool = False) -> tuple[int, int]:
        """Line and column of the value at `path`, or of the name before it; 1:1 if there is no trace."""
        start = self._returned
        entry = self._follow(start, ()) if start is not None else self._named(("pipeline",))
        if entry is None:
            return 1, 1
        for at, key in enumerate(path):
            found = self._field(entry, key)
            if found is None:
                break
            if name and at == len(path) - 1:
                return self._place(found.name)
            entry = self._follow(found.value, found.aliases)
        return self._place(entry.value)

    def of_error(self, line: int, near: str | None) -> tuple[int, int]:
        """The place of a syntax error that Lua found at `line`, near a token (None: at the file's end)."""
        text = self._lines[line - 1] if line <= len(self._lines) else b""
        for row, column in self._errors:
            if near is not None and row == line - 1 and text[column:].startswith(near.encode()):
                return line, self._column(line, column)
        if near is not None and (at := text.find(near.encode())) >= 0:
            return line, self._column(line, at)
        if near is None:
            return line, self._column(line, len(text.rstrip()))
        return self.of_line(line)

    def of_line(self, line: int) -> tuple[int, int]:
        """The first character of a line that is not blank."""
        text = self._lines[line - 1] if line <= len(self._lines) else b""
        return line, self._column(line, len(text) - len(text.lstrip()))

    def last_line(self) -> int:
        return len(self._lines)

    def _read_top(self, root: Node) -> None:
        for statement in root.named_children:
            if statement.type == "variable_declaration":
                statement = statement.named_children[0] if statement.named_children else statement
            if statement.type == "assignment_statement":
                self._read_assignment(statement)
            elif statement.type == "return_statement" and statement.named_children:
                values = statement.named_children[0].named_children
                self._returned = values[0] if values else None

    def _read_assignment(self, statement: Node) -> None:
        names = [child for child in statement.named_children if child.type == "variable_list"]
        values = [child for child in statement.named_children if child.type == "expression_list"]
        if not names or not values:
            return
        for name, value in zip(names[0].named_children, values[0].named_children, strict=False):
            keys = _variable(name)
            if keys is not None:
                self._assigned[keys] = _Entry(name, value, (keys,))

    def _named(self, keys: _Keys) -> _Entry | None:
        entry = self._assigned.get(keys)
        return None if entry is None else self._follow(entry.value, entry.aliases)

    def _follow(self, value: Node, aliases: tuple[_Keys, ...]) -> _Entry:
        """Through names, parentheses and `pipeline.define`, to the literal that `value` stands for."""
        for _ in range(_MAX_ALIASES):
            if value.type == "parenthesized_expression" and value.named_children:
                value = value.named_children[0]
            elif value.type == "function_call" and (inner := _only_argument(value)) is not None:
                value = inner
            elif (keys := _variable(value)) is not None and keys in self._assigned and keys not in aliases:
                value, aliases = self._assigned[keys].value, (*aliases, keys)
            else:
                break
        return _Entry(value, value, aliases)

    def _field(self, entry: _Entry, key: str | int) -> _Entry | None:
        aliases = tuple((*alias, key) for alias in entry.aliases)
        for alias in aliases:
            if (found := self._assigned.get(alias)) is not None:
                return _Entry(found.name, found.value, aliases)
        fields = self._fields.get(entry.value.id)
        if fields is None:
            fields = {name: (node, value) for name, node, value in _fields(entry.value) if name is not None}
            self._fields[entry.value.id] = fields
        found_field = fields.get(key)
        return None if found_field is None else _Entry(*found_field, aliases)

    def _place(self, node: Node) -> tuple[int, int]:
        row, byte = node.start_point
        return row + 1, self._column(row + 1, byte)

    def _column(self, line: int, byte: int) -> int:
        text = self._lines[line - 1] if line <= len(self._lines) else b""
        return len(text[:byte].decode(errors="replace")) + 1


def _parsed(source: bytes) -> Node | None:
    """The tree of a file; None where mending its errors takes too long (a few KB of `= = {` take minutes)."""
    end = time.monotonic() + PARSE_S
    try:
        tree = Parser(_LUA).parse(
            lambda at, _: source[at : at + 65536],
            progress_callback=lambda *_: time.monotonic() > end,
        )
    except ValueError:
        return None
    return tree.root_node


def _broken(root: Node) -> Iterator[Node]:
    """The nodes that the parser could make nothing of."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_error:
            yield node
        if node.has_error:
            waiting += reversed(node.children)


def _fields(table: Node) -> Iterator[tuple[str | int | None, Node, Node]]:
    """Each field of a table constructor: its key, the node that names it, and its value."""
    if table.type != "table_constructor":
        return
    position = 0
    for field in table.named_children:
        value = field.child_by_field_name("value") if field.type == "field" else None
        if value is None:
            continue
        name = field.child_by_field_name("name")
        if name is None:
            position += 1
            yield position, value, value
        else:
            yield _key(name, bracketed=field.children[0].type == "["), name, value


def _key(name: Node, *, bracketed: bool) -> str | int | None:
    text = (name.text or b"").decode(errors="replace")
    if name.type == "identifier":
        return None if bracketed else text
    if name.type == "number":
        return int(text) if text.isdecimal() else None
    content = name.child_by_field_name("content")
    return None if content is None else (content.text or b"").decode(errors="replace")


def _variable(node: Node) -> _Keys | None:
    """`a.b[1]` as its keys; None for anything else."""
    if node.type == "identifier":
        return ((node.text or b"").decode(errors="replace"),)
    if node.type not in ("dot_index_expression", "bracket_index_expression"):
        return None
    table, field = node.child_by_field_name("table"), node.child_by_field_name("field")
    outer = _variable(table) if table is not None else None
    if outer is None or field is None:
        return None
    key = _key(field, bracketed=node.type == "bracket_index_expression")
    return None if key is None else (*outer, key)


def _only_argument(call: Node) -> Node | None:
    arguments = call.child_by_field_name("arguments")
    if arguments is None or len(arguments.named_children) != 1:
        return None
    return arguments.named_children[0]
