"""What is said of metrics is what is served: their names, the page of documentation, the dashboard."""

import json
import re
from pathlib import Path

import pytest

from rivet.telemetry.metrics import METRICS
from rivet.telemetry.reference import with_metrics

ROOT = Path(__file__).parents[3]
BY_SERIES = {series: metric for metric in METRICS for series in metric.series()}
PANELS = json.loads((ROOT / "deploy" / "grafana-rivet.json").read_text())["panels"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]


def test_the_page_of_operations_has_the_metrics_as_they_are():
    page = (ROOT / "docs" / "operations.md").read_text()
    assert with_metrics(page) == page, "run `make docs`"
    assert all(f"| `{metric.name}` | {metric.kind} |" in page for metric in METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_a_name_with_its_unit_and_a_meaning(metric):
    assert re.fullmatch(r"rivet_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert metric.meaning.endswith(".")


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[f"{title}-{target['refId']}" for title, target in TARGETS])
def test_the_dashboard_asks_for_series_and_labels_that_there_are(title, target):
    named = re.findall(r"\brivet_\w+", target["expr"])
    assert named, title
    labels = {label for series in named for label in BY_SERIES[series].labels} | {"le"}
    grouped = ",".join(re.findall(r"\bby \(([^)]*)\)", target["expr"])).replace(" ", "").split(",")
    matched = re.findall(r"[{,](\w+)=", target["expr"])
    shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
    assert {*filter(None, grouped), *matched, *shown} <= labels
    assert set(shown) <= {*grouped}, "a legend shows what the sum is grouped by"


def test_the_dashboard_shows_every_metric():
    asked = {BY_SERIES[series].name for _, target in TARGETS for series in re.findall(r"\brivet_\w+", target["expr"])}
    assert asked == {metric.name for metric in METRICS}
