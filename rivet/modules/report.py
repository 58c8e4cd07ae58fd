"""The Lua module `report`."""

from typing import Any

from rivet.domain.report import counts
from rivet.modules.contract import Call, CallError, Glob, StageContext, WorkspacePath, about
from rivet.modules.fs import MAX_PATTERNS, as_list

MOST_FILES = 1000


class Junit(Call, module="report"):
    """Keep the results of tests, from XML files as JUnit, pytest and many others write them.

    What comes back is a table of how many there were: `tests`, `failed`, `errored`, `skipped`, `passed`. A
    failed test does not fail the stage: the command that ran it does.
    """

    path: list[Glob] | Glob = about(
        "which files: a path, a glob, or several", minimum=1, maximum=MAX_PATTERNS
    )
    example = 'report.junit({ path = "reports/*.xml" })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        from rivet.modules.report_files import NotReadable, read_junit

        files = stage.files(self.title())
        globs = as_list(self.path)
        paths = files.glob(globs)
        if not 0 < len(paths) <= MOST_FILES:
            raise CallError(
                f"{self.title()}: path: {', '.join(globs)} matches {len(paths)} files of the workspace; "
                f"expected 1 to {MOST_FILES}"
            )
        cases = []
        for path in paths:
            try:
                cases += read_junit(files.read(path))
            except NotReadable as error:
                raise CallError(f'{self.title()}: path: "{path}" is no JUnit report: {error}') from None
        stage.reports.tests(cases)
        told = counts((case.status, 1) for case in cases)
        stage.say("info", "reported " + ", ".join(f"{number} {name}" for name, number in told.items()))
        return told


class Coverage(Call, module="report"):
    """Keep how many lines of the code the tests reached, from a file of Cobertura (XML) or LCOV.

    What comes back is a table of `lines`, `covered` and `line_rate`, from 0 to 1.
    """

    path: WorkspacePath = about("the file")
    example = 'report.coverage({ path = "coverage.xml" })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        from rivet.modules.report_files import NotReadable, read_coverage

        content = stage.files(self.title()).read(self.path)
        try:
            found = read_coverage(content, self.path)
        except NotReadable as error:
            raise CallError(
                f'{self.title()}: path: "{self.path}" is neither a file of Cobertura nor of LCOV: {error}'
            ) from None
        stage.reports.coverage(found)
        rate = f"{found.line_rate:.1%}"
        stage.say("info", f"reported coverage: {found.covered} of {found.lines} lines ({rate})")
        return {"lines": found.lines, "covered": found.covered, "line_rate": found.line_rate}
