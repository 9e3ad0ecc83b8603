"""The OpenAPI document: valid, whole, in the README's words; and whatever comes as a body is read or refused."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from more_server.app import HANDLERS, create_app, kinds_of_jobs
from more_server.errors import BadInput
from more_server.web import wire
from more_server.web.described import Doc, each
from more_server.web.openapi import document, structs
from tests import docs
from tests.web.conftest import nano_settings

BODIES = [
    *(kind for one in HANDLERS for kind in each(one.opt["doc"].body) if isinstance(kind, type)),
    wire.StreamMessage,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document as it is sent, with the routes of one plugin."""
    plain = nano_settings(tmp_path_factory.mktemp("data"))
    plugins = plain.plugins | {"more_xtts_api": {"enabled": True}}
    application = create_app(msgspec.structs.replace(plain, plugins=plugins))
    found: dict[str, Any] = json.loads(wire.encode(document(application._current)))
    return found


def operations() -> Iterator[tuple[Any, str, str]]:
    for handler in HANDLERS:
        for path in sorted(handler.paths):
            for method in getattr(handler, "http_methods", ["GET"]):
                yield handler, re.sub(r":(path|str)", "", path), method.lower()


def test_the_document_is_openapi_3_1(told: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(told).validate()
    used = set(re.findall(r'"#/components/(\w+/[^"]+)"', json.dumps(told)))
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in told["components"][kind]}
    assert used == there
    ids = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("handler", "path", "method"), list(operations()))
def test_every_route_is_described(told: dict[str, Any], handler: Any, path: str, method: str) -> None:
    one, doc = told["paths"][path][method], handler.opt["doc"]
    assert isinstance(doc, Doc)
    assert one["summary"] == handler.fn.__doc__.strip().splitlines()[0]
    answers = {status: answer for status, answer in one["responses"].items() if "$ref" not in answer}
    assert answers
    assert all(("content" in answer) is (status not in ("101", "204", "304")) for status, answer in answers.items())
    assert ("requestBody" in one) is (doc.body is not None)
    needed = {parameter["name"] for parameter in one.get("parameters", []) if parameter["in"] == "path"}
    assert needed == set(re.findall(r"{(\w+)}", path))
    scope = handler.opt["scope"]
    errors = {"public": {"500"}, "discovery": {"401", "429", "500", "503"}}.get(
        scope, {"401", "403", "429", "500", "503"}
    )
    assert errors <= one["responses"].keys()
    assert bool(one["security"]) is (scope != "public")


def test_routes_of_plugins_are_in_it(told: dict[str, Any]) -> None:
    one = told["paths"]["/tts_to_audio"]["post"]
    assert one["summary"] == "Speech as a whole WAV file."
    assert one["tags"] == ["more_xtts_api"]
    assert one["security"] == [{"key": ["speech"]}]
    assert "/process" not in told["paths"], "of a plugin that is disabled"


def test_the_readme_says_the_same_of_fields(told: dict[str, Any]) -> None:
    schemas = told["components"]["schemas"]
    tables = {
        "SpeechBody": docs.speech_fields(),
        "SpeechOrder": docs.job_fields("more_server/narration/request.py", "SpeechJob"),
        "TrainOrder": docs.job_fields("more_server/lessons/train_kind.py", "TrainJob"),
    }
    for name, table in tables.items():
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
        lines = {field: one.get("description") for field, one in schemas[name]["properties"].items()}
        assert rows == {field: line for field, line in lines.items() if field in rows}
        assert len(rows) > 5
    assert schemas["VoiceDetails"]["properties"]["title"]["description"] == "Shown to people.", "inherited"


def test_every_kind_of_job_is_described(told: dict[str, Any], tmp_path: Path) -> None:
    kinds = kinds_of_jobs(create_app(nano_settings(tmp_path)).speaker)
    body = told["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schemas = [told["components"]["schemas"][one["$ref"].rpartition("/")[2]]["properties"] for one in body["anyOf"]]
    assert {one["kind"]["enum"][0]: one.keys() - {"kind", "webhook"} for one in schemas} == {
        kind.name: set(kind.request.__struct_fields__) for kind in kinds
    }


def fields(kind: Any) -> list[str]:
    return sorted({name for struct in structs([kind]) for name in struct.__struct_fields__} | {"type", "kind"})


@settings(max_examples=200)
@given(data=st.data(), kind=st.sampled_from(BODIES))
def test_a_body_is_read_or_refused_by_bad_input(kind: Any, data: st.DataObject) -> None:
    shaped = st.dictionaries(st.sampled_from(fields(kind)), JSON, max_size=6)
    sent = data.draw(st.binary(max_size=60) | (JSON | shaped).map(lambda value: json.dumps(value).encode()))
    with suppress(BadInput):
        wire.decode(sent, kind)
