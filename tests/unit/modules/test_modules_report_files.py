"""Reports as many tools write them, and files that are none."""

import pytest

from rivet.modules.report_files import NotReadable, read_coverage, read_junit

SUITES = """<?xml version="1.0"?>
<testsuites>
  <testsuite name="pytest" tests="4">
    <testcase classname="tests.test_a" name="test_one" time="0.25"/>
    <testcase classname="tests.test_a" name="test_two"><failure message="no">assert 1 == 2</failure></testcase>
    <testcase classname="tests.test_a" name="test_three"><error message="boom"/></testcase>
    <testcase classname="tests.test_a" name="test_four"><skipped/><system-out>x</system-out></testcase>
  </testsuite>
  <testsuite name="outer"><testsuite name="inner"><testcase name="deep"/></testsuite></testsuite>
</testsuites>"""


def test_suites_of_junit_are_read_in_order_with_what_was_wrong():
    cases = read_junit(SUITES.encode())
    assert [(case.suite, case.name, case.status.value) for case in cases] == [
        ("pytest", "test_one", "passed"), ("pytest", "test_two", "failed"), ("pytest", "test_three", "errored"),
        ("pytest", "test_four", "skipped"), ("outer", "deep", "passed"),
    ]  # fmt: skip
    assert (cases[0].seconds, cases[0].classname) == (0.25, "tests.test_a")
    assert (cases[1].message, cases[1].details) == ("no", "assert 1 == 2")


def test_a_single_suite_is_read_and_texts_are_bounded():
    long = "x" * 100_000
    source = f'<testsuite name="one"><testcase name="{long}"><failure message="{long}">{long}</failure></testcase></testsuite>'
    case = read_junit(source.encode())[0]
    assert (len(case.name), len(case.message), len(case.details)) == (500, 4000, 16_000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is not XML"),
        (b"hello", "it is not XML"),
        (b"<html/>", "nvalid format"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>', "it declares entities"),
        (b"<a>" * 200, "more than 100 deep"),
        (b'<testsuite name="a"><testcase name="x" time="soon"/></testsuite>', "could not convert"),
    ],
)
def test_what_is_no_junit_is_refused_in_words(content, told):
    with pytest.raises(NotReadable, match=told):
        read_junit(content)


COBERTURA = """<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage {sums}><packages><package><classes><class><lines>
  <line number="1" hits="3"/><line number="2" hits="0"/><line number="3" hits="1"/><line number="4" hits="1"/>
</lines></class></classes></package></packages></coverage>"""


@pytest.mark.parametrize(
    ("content", "form", "lines", "covered"),
    [
        (COBERTURA.format(sums=""), "cobertura", 4, 3),
        (COBERTURA.format(sums='lines-valid="100" lines-covered="80"'), "cobertura", 100, 80),
        ("TN:\nSF:a.js\nDA:1,5\nDA:2,0\nLF:2\nLH:1\nend_of_record\n", "lcov", 2, 1),
        ("SF:a.js\nLF:10\nLH:4\nend_of_record\nSF:b.js\nLF:10\nLH:6\nend_of_record\n", "lcov", 20, 10),
    ],
)
def test_coverage_is_lines_and_how_many_of_them_were_reached(content, form, lines, covered):
    found = read_coverage(content.encode(), "c")
    assert (found.form, found.lines, found.covered) == (form, lines, covered)
    assert found.line_rate == covered / lines


@pytest.mark.parametrize(
    "content", ["", "{}", "<report/>", "SF:a\nDA:x,y\n", '<coverage lines-valid="1" lines-covered="2"/>']
)
def test_what_is_no_coverage_is_refused_in_words(content):
    with pytest.raises(NotReadable) as raised:
        read_coverage(content.encode(), "c")
    assert str(raised.value)
