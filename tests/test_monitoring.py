"""The dashboard and the alert rules that ship with the server ask for nothing that its metrics do not have."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from more_server.engine.state import EngineState
from more_server.measures import Measures
from more_server.report import STATUSES
from more_server.web.metrics import EngineCollector, GpuCollector, JobsCollector, told

MONITORING = files("more_server") / "monitoring"
OF_PROMETHEUS = {"up"}
ADDED_BY_PROMETHEUS = {"instance", "job"}
PANELS = (
    *("First audio", "Real-time factor", "Requests by status", "Queue and slots", "Batch", "Guards", "Jobs", "Breaker"),
    *("GPU memory", "Process memory"),
)


def metrics() -> dict[str, list[dict[str, str]]]:
    """Labels of the samples of each metric of a server that has done everything there is to count."""
    measures = Measures()
    for status in STATUSES:
        measures.ended("http", "fast", status, 1.0, 1.0, 0.5)
    measures.first_audio("http", "fast", 0.1)
    measures.guarded(["retry"])
    measures.answered("POST", "/v1/audio/speech", 200)
    engine = EngineCollector(True, [EngineState("nano", device="cuda:0", precision="bf16")], {1: 2})
    text = measures.text() + told(engine, GpuCollector({"cuda:0": (1, 2)}), JobsCollector({("speech", "failed"): 1}))
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Where each stands, and the query, Grafana's own variables filled in."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in dashboard()["panels"]:
        expressions = (target["expr"] for target in panel["targets"])
        filled = (one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in expressions)
        found += [(panel["title"], one) for one in filled]
    return found


def selectors(expression: Any) -> Iterator[promql.VectorSelector]:
    """Every selection of a metric in a query."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        if isinstance(inner := getattr(expression, part, None), promql.Expr | promql.VectorSelector):
            yield from selectors(inner)
    for inner in getattr(expression, "args", ()):
        yield from selectors(inner)


@pytest.mark.parametrize(("place", "query"), queries())
def test_every_query_asks_for_what_there_is(place: str, query: str) -> None:
    known = metrics()
    found = list(selectors(promql.parse(query)))
    assert found
    for one in found:
        assert one.name in known or one.name in OF_PROMETHEUS, f"{place}: there is no {one.name}"
        for matcher in one.matchers.matchers:
            if matcher.name in ADDED_BY_PROMETHEUS:
                continue
            values = {labels[matcher.name] for labels in known[one.name] if matcher.name in labels}
            assert values, f"{place}: {one.name} has no label {matcher.name}"
            if matcher.name in ("status", "kind") and str(matcher.op) in ("MatchOp.Equal", "MatchOp.Re"):
                assert any(re.fullmatch(matcher.value, value) for value in values), f"{place}: {matcher}"
    grouped = {label for by in re.findall(r"\b(?:by|ignoring) \(([^)]*)\)", query) for label in by.split(", ")}
    there = {label for one in found for labels in known.get(one.name or "", ()) for label in labels}
    assert grouped <= there | ADDED_BY_PROMETHEUS, place


def test_alerts_say_what_is_the_matter() -> None:
    found = rules()
    names = [rule["alert"] for rule in found]
    assert len(set(names)) == len(names) >= 10
    for rule in found:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert len(rule["annotations"]["summary"]) > 10, rule["alert"]
        assert len(rule["annotations"]["description"]) > 20, rule["alert"]


def test_the_dashboard_shows_what_an_administrator_asks_for() -> None:
    panels = dashboard()["panels"]
    assert set(PANELS) <= {panel["title"] for panel in panels}
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
