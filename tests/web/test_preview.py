"""How a document would be split and spoken, told by a real server; nothing of it stays."""

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from more_server import app
from more_server.testing import tiny_config, tiny_xtts
from more_server.web import narration
from tests.narration.epubs import epub, xhtml
from tests.web.conftest import Server, nano_settings, running

BOOK = """# The Lost Sock

## One

Dr. Smith had 3 socks, and it was May. He had 1.

## Two

“No.”

He sat down by the fire, in the hall, on an old chair, with a cup of tea that had long gone cold, and he wept.
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("data")
    tiny_xtts(data_dir / "models" / "tiny", config=tiny_config(("en",)))
    settings = msgspec.structs.replace(nano_settings(data_dir), model="tiny")
    limits = msgspec.structs.replace(settings.limits, job_bytes=200_000)
    with pytest.MonkeyPatch.context() as patch:
        if narration not in app.TAKING_MORE:
            patch.setattr(app, "HANDLERS", (*app.HANDLERS, *narration.HANDLERS))
            patch.setattr(app, "TAKING_MORE", (*app.TAKING_MORE, narration))
        with running(msgspec.structs.replace(settings, limits=limits)) as made:
            yield made


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_preview(server: Server) -> None:
    before = files(server.settings.data_dir)
    body = {"kind": "speech", "input": BOOK, "author": "Ann", "quality": "fast", "webhook": {"url": "https://a.b/"}}
    answer = server.http().post("/v1/jobs/preview", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["object"], told["title"], told["author"]) == ("speech.preview", "The Lost Sock", "Ann")
    assert (told["language"], told["model"], told["voice"], told["quality"]) == ("en", "tiny", "linden", "fast")
    assert told["complete"]
    assert [(one["number"], one["title"], one["paragraphs"]) for one in told["chapters"]] == [
        (1, "One", 3),
        (2, "Two", 3),
    ]
    passages = [passage for chapter in told["chapters"] for passage in chapter["passages"]]
    assert [(one["text"], one["spoken"]) for one in passages[:5]] == [
        ("The Lost Sock", "The Lost Sock"),
        ("One", "One"),
        (
            "Dr. Smith had 3 socks, and it was May. He had 1.",
            "doctor Smith had three socks, and it was May. He had one.",
        ),
        ("Two", "Two"),
        (
            "“No.”\nHe sat down by the fire, in the hall, on an old chair,",
            "No. He sat down by the fire, in the hall, on an old chair",
        ),
    ]
    assert [one["pause_seconds"] for one in passages[:4]] == [0.5, 0.75, 1.5, 0.75]
    assert passages[-1]["pause_seconds"] == 0
    assert told["seconds"] == pytest.approx(sum(one["seconds"] + one["pause_seconds"] for one in passages))
    assert 5 < told["seconds"] < 40
    assert files(server.settings.data_dir) == before


def test_the_preview_of_a_part(server: Server) -> None:
    book = BOOK + "\n\n".join(
        ["", *(f"## Chapter {number}\n\n" + "It rained on the town. " * 50 for number in range(20))]
    )
    whole, first, second = (
        server.http().post("/v1/jobs/preview", params=params, json={"input": book}).json()
        for params in ({"limit": 1000}, {"limit": 4}, {"chapter": 12, "limit": 500})
    )
    assert whole["complete"]
    assert not first["complete"]
    assert not second["complete"]
    assert [len(chapter["passages"]) for chapter in first["chapters"]] == [3, 1, *[0] * 20]
    shown = [passage for chapter in first["chapters"] for passage in chapter["passages"]]
    assert shown == [passage for chapter in whole["chapters"] for passage in chapter["passages"]][:4]
    assert second["chapters"] == [whole["chapters"][11]]
    assert first["characters"] == second["characters"] == whole["characters"]
    assert second["seconds"] == pytest.approx(whole["seconds"], rel=0.2)


def test_the_preview_of_an_epub(server: Server) -> None:
    content = epub({"a.xhtml": xhtml("<h1>One</h1><p>It began.</p>")})
    answer = server.http().post("/v1/jobs/preview", json={"document": base64.b64encode(content).decode()})
    told = answer.json()
    assert (answer.status_code, told["title"], told["author"]) == (200, "The Book", "Ann Other")
    assert [passage["text"] for passage in told["chapters"][0]["passages"]] == ["One", "It began."]


@pytest.mark.parametrize(
    ("query", "body", "status", "param", "says"),
    [
        ("", {}, 400, "input", "there is no text; send input, or a file as document"),
        ("", {"input": "a", "document": "YQ=="}, 400, "document", "not both"),
        ("", {"input": 3}, 400, "input", "input: expected `str`"),
        ("", {"input": "Hi.", "text": "Ho."}, 400, "text", "there is no field text; there are: author, chapter_pause"),
        ("", {"kind": "train", "input": "Hi."}, 400, "kind", "only jobs of the kind speech"),
        ("", {"input": "Hi.", "response_format": "ogg"}, 400, "response_format", "allowed are flac, m4b, mp3, "),
        ("", {"input": "Hi.", "subtitles": ["ass"]}, 400, "subtitles", "value 'ass'; allowed are srt, vtt"),
        ("", {"input": "Hi.", "chapter_pause_seconds": 31}, 400, "chapter_pause_seconds", "`float` <= 30"),
        ("", {"input": "Hi.", "voice": "nobody"}, 404, "voice", "there is no voice 'nobody'"),
        ("", {"input": "Hi.", "quality": "best"}, 400, "quality", "there is no quality 'best'"),
        ("", {"input": "Hi.", "language": "de"}, 400, "language", "is not spoken by the model tiny"),
        ("", {"document": base64.b64encode(b"PK\x03\x04").decode()}, 400, "document", "zip file"),
        ("?limit=0", {"input": "Hi."}, 400, "limit", "limit must be between 1 and 1000"),
        ("?limit=x", {"input": "Hi."}, 400, "limit", ""),
        ("?chapter=2", {"input": "Hi."}, 400, "chapter", "chapter must be between 1 and 1"),
        ("", {"input": "a" * 300_000}, 413, None, "larger than 200000 bytes (limits.job_bytes)"),
    ],
)  # fmt: skip
def test_what_cannot_be_previewed(
    server: Server, query: str, body: dict[str, object], status: int, param: str | None, says: str
) -> None:
    answer = server.http().post(f"/v1/jobs/preview{query}", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert says in error["message"]


def test_a_preview_may_be_larger_than_other_requests(server: Server) -> None:
    body = {"input": "It rained on the town. " * 6000}
    answer = server.http().post("/v1/jobs/preview", json=body, params={"limit": 5})
    assert answer.status_code == 200
    assert answer.json()["characters"] > server.settings.limits.body_bytes
