"""Reads files of reports: JUnit, Cobertura, LCOV. They are written by strangers: bounded, no entities."""

import math
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestSuite

from rivet.domain.report import (
    MOST_CASES,
    MOST_DETAILS,
    MOST_MESSAGE,
    MOST_TEXT,
    Case,
    CaseStatus,
    Coverage,
)

MOST_DEPTH = 100


class NotReadable(Exception):
    """The file is not what it should be; the message says why."""


def read_junit(content: bytes) -> list[Case]:
    """The cases of a report, in order. Raises NotReadable."""
    root = _xml(content)
    try:
        cases = list(_cases(JUnitXml.fromroot(root)))
    except (JUnitXmlError, ValueError, TypeError, AttributeError) as error:
        raise NotReadable(str(error)[:200] or "its elements are not those of JUnit") from None
    if len(cases) > MOST_CASES:
        raise NotReadable(f"it has {len(cases)} tests, at most {MOST_CASES} are read")
    return cases


def read_coverage(content: bytes, source: str) -> Coverage:
    """The lines of a file of Cobertura or LCOV. Raises NotReadable."""
    if content.lstrip()[:1] == b"<":
        return _cobertura(_xml(content), source)
    return _lcov(content, source)


def _xml(content: bytes) -> Any:
    """The root element. What declares entities is refused: expanded, they could be of any size."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise NotReadable(f"its elements lie more than {MOST_DEPTH} deep")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise NotReadable("it declares entities, which no report needs")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotReadable(f"it is not XML: {error}") from None
    return builder.close()


def _cases(root: JUnitXml | TestSuite) -> Iterator[Case]:
    """Of suites, or of a single one; those of suites within suites come with the outer one."""
    for suite in [root] if isinstance(root, TestSuite) else root:
        for case in suite:
            yield _case(case, str(suite.name or ""))


def _case(case: Any, suite: str) -> Case:
    status, message, details = CaseStatus.PASSED, "", ""
    for result in case.result:
        found = next((status for kind, status in _KINDS if isinstance(result, kind)), None)
        if found is not None:
            status = found
            message, details = str(result.message or ""), str(result.text or "")
            break
    taken = case.time if isinstance(case.time, int | float) else 0.0
    return Case(
        suite[:MOST_TEXT],
        str(case.classname or "")[:MOST_TEXT],
        str(case.name or "")[:MOST_TEXT],
        status,
        taken if math.isfinite(taken) and 0 <= taken < 1e9 else 0.0,
        message[:MOST_MESSAGE],
        details[:MOST_DETAILS],
    )


_KINDS = ((Failure, CaseStatus.FAILED), (Error, CaseStatus.ERRORED), (Skipped, CaseStatus.SKIPPED))


def _cobertura(root: Any, source: str) -> Coverage:
    if root.tag != "coverage":
        raise NotReadable(f"its root is <{root.tag[:50]}>, that of Cobertura is <coverage>")
    if "lines-valid" in root.attrib and "lines-covered" in root.attrib:
        lines, covered = _whole(root.attrib["lines-valid"]), _whole(root.attrib["lines-covered"])
    else:
        hits = [_whole(line.attrib.get("hits", "0")) for line in root.findall(".//class/lines/line")]
        lines, covered = len(hits), sum(1 for each in hits if each)
    return _checked(source, "cobertura", lines, covered)


def _lcov(content: bytes, source: str) -> Coverage:
    """`DA:line,hits`, or where a file has none its sums `LF` and `LH`."""
    lines = covered = summed = summed_covered = files = 0
    for line in content.decode("utf-8", "replace").splitlines():
        key, _, value = line.strip().partition(":")
        if key == "SF":
            files += 1
        elif key == "DA":
            lines += 1
            covered += _whole(value.split(",")[1] if "," in value else "") > 0
        elif key == "LF":
            summed += _whole(value)
        elif key == "LH":
            summed_covered += _whole(value)
    if files == 0:
        raise NotReadable("it names no source file (`SF:…`)")
    if lines == 0:
        lines, covered = summed, summed_covered
    return _checked(source, "lcov", lines, covered)


def _checked(source: str, form: str, lines: int, covered: int) -> Coverage:
    if not 0 <= covered <= lines:
        raise NotReadable(f"it says that {covered} of {lines} lines were reached")
    return Coverage(source[:MOST_TEXT], form, lines, covered)


def _whole(text: str) -> int:
    try:
        return min(int(text), 2**40)
    except ValueError:
        raise NotReadable(f'"{text[:50]}" is where a number of lines should be') from None
