"""Long texts and training as somebody does them on the page."""

import io
import json
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.lessons.test_through_the_api import archive
from tests.serving import Server

STORY = "# A walk\n\nDr. Smith paid $30 for apples.\n\nThen he went home.\n\n# The end\n\nAnd that was all."
LONG = "It was a dark and stormy night, and the rain fell in torrents on the old house.\n\n" * 400
REFUSED = ("status of 400",)
"""What the console says of a refusal that is told on the page."""
PIECE = 4 << 20
"""Bytes that the page sends at a time."""


def card_of(page: Page, job: str) -> Locator:
    return page.locator(f"li.card[data-job='{job}']")


def latest(server: Server) -> str:
    """The id of the job that was asked for last; "" where there is none."""
    return str(server.http.get("/v1/jobs?limit=1").json()["first_id"] or "")


def form(page: Page) -> Locator:
    return page.get_by_role("tabpanel", name="New text")


@pytest.fixture
def left(studio: Server) -> Iterator[list[str]]:
    """Jobs that are ended and forgotten behind the test; asked for before pages, so that none looks on any more."""
    jobs: list[str] = []
    yield jobs
    for job in jobs:
        studio.http.post(f"/v1/jobs/{job}/cancel")
        studio.http.delete(f"/v1/jobs/{job}")


def test_a_text_is_previewed_spoken_heard_and_fetched(open_page: Callable[..., Page], studio: Server) -> None:
    before = len(studio.http.get("/v1/jobs?limit=100").json()["data"])
    page = open_page("#jobs/new")
    page.get_by_label("Text", exact=True).fill(STORY)
    form(page).get_by_label("Voice", exact=True).select_option("linden")
    form(page).get_by_label("Format").select_option("wav")
    form(page).get_by_text("More settings").click()
    page.get_by_label("A file for each chapter").check()
    page.get_by_label("Subtitles, SRT").check()
    page.get_by_label("Title", exact=True).fill("Two walks")
    page.get_by_role("button", name="Preview").click()
    preview = page.locator(".preview")
    expect(preview).to_contain_text("Two walks")
    expect(preview.get_by_text("A walk", exact=False).first).to_be_visible()
    preview.get_by_text("A walk", exact=False).first.click()
    expect(preview).to_contain_text("doctor Smith paid thirty dollars")
    assert len(studio.http.get("/v1/jobs?limit=100").json()["data"]) == before

    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("tab", name="All jobs")).to_have_attribute("aria-selected", "true")
    job = latest(studio)
    card = card_of(page, job)
    expect(card.get_by_role("status")).to_have_text("Done")
    expect(card.get_by_role("heading")).to_have_text("Two walks")
    results = {one["name"]: one for one in studio.job(job)["results"]}
    assert sorted(Path(name).suffix for name in results) == [".srt", ".srt", ".wav", ".wav"]
    for name in results:
        expect(card).to_contain_text(name)
    first = next(name for name in results if name.endswith(".wav"))
    with page.expect_download() as told:
        card.get_by_role("button", name=f"Download: {first}").click()
    content = Path(told.value.path()).read_bytes()
    assert content == studio.http.get(results[first]["url"]).content
    with wave.open(io.BytesIO(content)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.abs(samples).max() > 2000
    card.get_by_role("button", name=f"Play: {first}").click()
    audio = card.locator("audio")
    expect(audio).to_have_js_property("paused", False)
    expect(audio).not_to_have_js_property("currentTime", 0)


def test_a_long_one_is_cancelled_resumed_and_deleted(
    left: list[str], open_page: Callable[..., Page], studio: Server
) -> None:
    page = open_page("#jobs/new")
    page.get_by_label("Text", exact=True).fill(LONG)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("tab", name="All jobs")).to_have_attribute("aria-selected", "true")
    job = latest(studio)
    left.append(job)
    card = card_of(page, job)
    state = card.get_by_role("status")
    expect(card).to_contain_text("speaking")
    expect(card.get_by_role("progressbar")).not_to_have_js_property("value", 0)
    card.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("Cancelled")
    assert studio.job(job)["status"] == "cancelled"
    done = studio.job(job)["progress"]["done"]
    card.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("Runs")
    assert studio.until(job, lambda found: found["status"] == "running" and found["progress"]["done"] >= done)

    card.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("Cancelled")
    card.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert studio.http.get(f"/v1/jobs/{job}").status_code == 200
    card.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    assert studio.http.get(f"/v1/jobs/{job}").status_code == 404


def test_files_are_taken_and_bad_ones_told_of(
    left: list[str], open_page: Callable[..., Page], studio: Server, tmp_path: Path
) -> None:
    page = open_page("#jobs/new", allowed=REFUSED)
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9 and more")
    (tmp_path / "good.md").write_text("# The café\n\nIt is open.", "utf-8")
    before = latest(studio)
    page.get_by_label("Or a file").set_input_files(tmp_path / "broken.txt")
    expect(page.get_by_label("Text", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Start", exact=True).click()
    wrong = form(page).locator("[data-param=document] .wrong")
    expect(wrong).to_contain_text("not valid UTF-8")
    assert latest(studio) == before
    page.get_by_role("button", name="Without this file").click()
    expect(page.get_by_label("Text", exact=True)).to_be_visible()

    page.get_by_role("button", name="Start", exact=True).click()
    expect(form(page).locator("[data-param=input] .wrong")).to_contain_text("there is no text")
    form(page).get_by_text("More settings").click()
    page.get_by_label("Speed").fill("9")
    form(page).get_by_text("More settings").click()
    page.get_by_label("Or a file").set_input_files(tmp_path / "good.md")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(form(page).locator("[data-param=speed] .wrong")).to_be_visible()
    page.get_by_label("Speed").fill("1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="The café")).to_be_visible()
    left.append(latest(studio))
    assert studio.done(latest(studio))["results"]


def test_few_of_many_jobs_are_followed_and_all_can_be_seen(
    left: list[str], open_page: Callable[..., Page], studio: Server
) -> None:
    left += [studio.asked(kind="speech", input=LONG, voice="linden", title=f"Night {number}") for number in range(22)]
    page = open_page("#connect")
    opened: list[str] = []
    ended: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if request.url.endswith("/events") else None)

    def gone(request: Request) -> None:
        if request.url.endswith("/events"):
            ended.append(request.url)

    page.on("requestfailed", gone)
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("li.card")).to_have_count(20)
    page.get_by_role("button", name="Show older jobs").click()
    expect(page.get_by_role("heading", name="Night 0", exact=True)).to_be_visible()
    with page.expect_response(lambda response: "/v1/jobs?limit" in response.url):  # the next look at the list
        pass
    assert len(opened) - len(ended) == 3
    page.get_by_role("link", name="Connect").click()
    expect(page.locator("li.card").first).to_be_hidden()
    page.wait_for_timeout(500)
    assert len(ended) == len(opened), "what nobody looks at is followed by nobody"
    page.get_by_role("link", name="Jobs").click()
    last = card_of(page, left[-1])
    studio.http.post(f"/v1/jobs/{left[-1]}/cancel").raise_for_status()
    expect(last.get_by_role("status")).to_have_text("Cancelled")


def test_who_may_not_train_is_told_so(open_page: Callable[..., Page]) -> None:
    told = "this key lacks the scope admin"

    def refuse(route: Route) -> None:
        error = {"message": told, "type": "permission_error", "code": "not_allowed", "param": None}
        route.fulfill(status=403, content_type="application/json", body=json.dumps({"error": error}))

    page = open_page("#connect", allowed=("status of 403",))
    page.route("**/v1/admin/datasets", refuse)
    page.route("**/v1/admin/profiles", refuse)
    page.goto(page.url.replace("#connect", "#jobs/train"))
    expect(page.get_by_role("tabpanel", name="Training").get_by_text(told)).to_be_visible()
    expect(page.get_by_role("button", name="Upload and make it")).to_be_hidden()
    page.get_by_role("tab", name="New text").click()
    expect(form(page).get_by_label("Voice", exact=True).locator("option")).to_have_count(3)
    expect(form(page).get_by_label("Quality").locator("option")).to_have_count(4)


def padded(content: bytes) -> bytes:
    """An archive that takes more than one piece; names that begin with a dot are not looked at."""
    written = io.BytesIO(content)
    with zipfile.ZipFile(written, "a") as zipped:
        zipped.writestr(".padding", np.random.default_rng(1).bytes(PIECE))
    return written.getvalue()


def make_dataset(page: Page, file: Path, name: str) -> None:
    page.get_by_label("Recordings").set_input_files(file)
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Upload and make it").click()


def test_recordings_come_over_a_connection_that_breaks(
    open_page: Callable[..., Page], studio: Server, tmp_path: Path
) -> None:
    content = padded(archive(tmp_path))
    (tmp_path / "reader.zip").write_bytes(content)
    page = open_page("#jobs/train", allowed=(*REFUSED, "ERR_FAILED"))
    sent: list[str] = []

    def piece(route: Route) -> None:
        sent.append(f"{route.request.method} {route.request.headers.get('upload-offset', '')}".strip())
        if len(sent) == 2:
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/admin/uploads/*", piece)
    make_dataset(page, tmp_path / "reader.zip", "No Name")
    expect(page.locator("[data-param=name] .wrong")).to_contain_text("cannot be a dataset's")
    assert sent == ["PATCH 0", f"PATCH {PIECE}", "HEAD", f"PATCH {PIECE}"]
    [upload] = studio.http.get("/v1/admin/uploads").json()["data"]
    assert (upload["filename"], upload["offset"]) == ("reader.zip", len(content))
    page.get_by_label("Name").fill("reader")
    page.get_by_role("button", name="Upload and make it").click()
    card = page.locator("li.card").first
    expect(card.get_by_role("status")).to_have_text("Done")
    assert sent[4:] == ["HEAD"], "what has come is not sent again"
    [made] = studio.http.get("/v1/admin/datasets").json()["data"]
    assert (made["name"], made["clips"]) == ("reader", 12)

    page.get_by_role("tab", name="Training").click()
    expect(page.get_by_role("tabpanel", name="Training")).to_contain_text("12 clips")
    page.get_by_role("button", name="Delete: reader").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet")).to_be_visible()
    assert studio.http.get("/v1/admin/datasets").json()["data"] == []


def test_an_upload_is_stopped_and_a_wrong_file_told_of(
    open_page: Callable[..., Page], studio: Server, tmp_path: Path
) -> None:
    (tmp_path / "reader.zip").write_bytes(b"PK" + bytes(PIECE))
    (tmp_path / "letter.docx").write_bytes(b"a letter")
    page = open_page("#jobs/train", allowed=REFUSED)
    make_dataset(page, tmp_path / "letter.docx", "letter")
    expect(page.locator("[data-param=uploads] .wrong")).to_contain_text("neither an archive nor a recording")
    held: list[Route] = []
    page.route("**/v1/admin/uploads/*", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request(lambda request: request.method == "PATCH"):
        make_dataset(page, tmp_path / "reader.zip", "letter")
    expect(page.get_by_text("uploaded")).to_be_visible()
    assert len(studio.http.get("/v1/admin/uploads").json()["data"]) == 1
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.get_by_role("button", name="Stop uploading").click()
    assert studio.http.get("/v1/admin/uploads").json()["data"] == []


@pytest.mark.slow
def test_a_voice_is_trained_heard_and_used(open_page: Callable[..., Page], tmp_path: Path) -> None:
    (tmp_path / "reader.zip").write_bytes(archive(tmp_path))
    server = Server(tmp_path / "data", JOBS__TRAINING_MEMORY="pause")
    try:
        page = open_page("#jobs/train", url=str(server.http.base_url).rstrip("/"), allowed=(*REFUSED, "status of 503"))
        make_dataset(page, tmp_path / "reader.zip", "reader")
        expect(page.locator("li.card").first.get_by_role("status")).to_have_text("Done")
        page.get_by_role("tab", name="Training").click()
        page.get_by_role("button", name="Train a voice on it").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name of the new model").fill("reader-two")
        dialog.get_by_label("Epochs").fill("4")
        dialog.get_by_label("Learning rate").fill("0.0001")
        dialog.get_by_label("Clips at once").fill("0")
        dialog.get_by_role("button", name="Start training").click()
        expect(dialog.locator("[data-param='recipe.batch_size'] .wrong")).to_be_visible()
        dialog.get_by_label("Clips at once").fill("2")
        dialog.get_by_role("button", name="Start training").click()
        card = page.locator("li.card").first
        expect(card).to_contain_text("nano learns from reader")
        chart = card.get_by_role("img")
        expect(chart.locator("path.train")).to_be_visible(timeout=300_000)
        card.get_by_role("button", name="Play: Step").first.click()
        expect(card.locator("[aria-pressed=true]")).to_be_visible()
        card.get_by_role("button", name="Cancel").click()
        expect(card.get_by_role("status")).to_have_text("Cancelled")
        card.get_by_role("button", name="Resume").click()
        expect(card.get_by_role("status")).to_have_text("Done", timeout=300_000)
        expect(card.get_by_role("heading", name="Before")).to_be_visible()
        expect(card.get_by_role("heading", name="Latest")).to_be_visible()
        assert "held out" in str(chart.get_attribute("aria-label"))
        page.reload()
        expect(chart.locator("path.held")).to_be_visible()  # from the table that the training left
        card.get_by_role("button", name="Use reader-two").click()
        page.get_by_role("dialog").get_by_role("button", name="Use reader-two").click()
        expect(page.get_by_text("The server speaks with reader-two now.")).to_be_visible()
        models = {one["id"]: one["serving"] for one in server.http.get("/v1/admin/models").json()["data"]}
        assert (models["reader-two"], models["nano"]) == (True, False)
    finally:
        server.stop()
