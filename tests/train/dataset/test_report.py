"""The report, for programs and for people: whole in one file, and nothing in it is taken for markup."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from more_train.dataset import page, plots
from more_train.dataset.command import dataset as command
from more_train.dataset.format import Clip, Refused
from more_train.dataset.report import Bars, Report, _advice
from more_train.dataset.settings import DatasetSettings

from tests.audio.signals import decode
from tests.train.dataset.recordings import SENTENCES, label, made, read_aloud, write

EVIL = "<script>alert('x')</script> & \"co\""


class Elements(HTMLParser):
    """Names and attributes of every element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a refused clip, and names that would be markup."""
    folder = tmp_path_factory.mktemp("report")
    source = folder / "source"
    for number in range(3):
        write(source / f"{number} <b>.wav", read_aloud(SENTENCES[number], behind=0.05))
    label(source, {f"{number} <b>.wav": SENTENCES[number] for number in range(2)} | {"2 <b>.wav": f"{EVIL} ünd {EVIL}"})
    made(source, folder / "out", name=EVIL, speaker="<i>Ann", language="en", shortest_seconds=1.5)
    return folder / "out"


def test_the_page_needs_nothing_else_and_runs_nothing(out: Path):
    text = (out / "report.html").read_text("utf-8")
    elements = Elements(text).found
    assert {tag for tag, _ in elements} >= {"svg", "audio", "table", "figure", "style", "title"}
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "b" if "<b>.wav" in text else ""}
    addresses = [value or "" for _, attrs in elements for name, value in attrs.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith("data:audio/mpeg;base64,") for address in addresses)
    assert not re.search(r"https?://|url\(|@import", text)
    assert not any(name.startswith("on") for _, attrs in elements for name in attrs)
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in text


def test_clips_can_be_heard(out: Path):
    text = (out / "report.html").read_text("utf-8")
    players = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', text)
    assert len(players) == 3
    for player in players:
        samples, rate = decode(base64.b64decode(player))
        assert rate == 24_000
        assert 1 < len(samples) / rate < 5


def test_the_report_for_programs(out: Path):
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Report)
    assert report.dataset == msgspec.json.decode((out / "dataset.json").read_bytes(), type=type(report.dataset))
    assert (report.recordings, report.dataset.clips, report.refused_clips) == (3, 2, 1)
    assert set(report.refused) == {"language"}
    assert report.padded == 2  # their recordings end 0.05 s behind the last sound
    assert report.ignored == 1  # metadata.csv
    assert (report.speakers[0].speaker, report.speakers[0].name) == ("i-ann", "<i>Ann")
    for bars in report.bars.values():
        assert sum(bars.kept) == 2
        assert sum(bars.refused) == 1
        assert len(bars.edges) == len(bars.kept) + 1
    assert report.advice[0] == "1 of 3 clips were refused: see the reasons before you train"
    assert any("<i>Ann: 4 s are little" in sentence for sentence in report.advice)


def test_most_texts_in_another_language_are_a_wrong_setting():
    assert _advice([], {"language": 3}, (), 4)[0].startswith("most texts are in another language than the dataset's")


def test_players_are_chosen_for_every_reason():
    def clip(number: int) -> Clip:
        return Clip(id=f"c{number}", file="", speaker="", language="en", text="", seconds=1, split="train", source="",
                    start=0, end=1)  # fmt: skip

    def refused(number: int) -> Refused:
        return Refused(source="", reasons=("noise" if number < 50 else f"r{number}",), why="", id=f"r{number}")

    chosen = page.heard([clip(number) for number in range(1000)], [refused(number) for number in range(60)])
    assert chosen[0] == "c0"
    assert chosen[11] == "c913"
    assert chosen[12:] == ["r0", "r1", "r2", "r3", *(f"r{number}" for number in range(50, 60))]
    assert page.heard([], [Refused(source="a.wav", reasons=("missing",), why="")]) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 0.3, [0, 0.1, 0.2, 0.3]), (-31, -18, [-30, -25, -20]), (3, 3, [3]),
     (0, 12345, [0, 5000, 10000])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[float]):
    assert plots.ticks(low, high) == expected


def test_plots_hold_what_they_are_given():
    drawn = plots.histogram(Bars((0, 1, 2), (3, 0), (1, 0)), "se<co>nds")
    assert "0.0 to 1.0: 3 kept, 1 refused" in drawn
    assert "se&lt;co&gt;nds" in drawn
    assert plots.histogram(Bars((), (), ()), "nothing") == ""
    assert plots.scatter([(1, 2)] * 9000, [(3, 4)], "x", "y").count("<circle") <= 2001
    assert plots.scatter([], [], "x", "y") == ""


def test_lengths_in_words():
    assert [page.long(seconds) for seconds in (3.25, 59.7, 61, 3599, 7322)] == [
        "3.2 s", "1 min 0 s", "1 min 1 s", "59 min 59 s", "2 h 2 min",
    ]  # fmt: skip


def test_the_command_says_what_was_made(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = out.parent / "source"
    command(source, tmp_path / "out", language="en", name="[bold]reader", shortest_seconds=1.5)
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"\[bold\]reader: 2 clips, \d\.\d s of en by 1 speaker, out of 3 recordings of \d\.\d s; 1 held out of .*",
        said[0],
    )
    assert said[1] == "Refused, by reason: in another language 1."
    assert said[2] == "· 1 of 3 clips were refused: see the reasons before you train."
    assert said[-1] == f"Listen to it: {tmp_path / 'out' / 'report.html'}"


def test_the_commands_defaults_are_those_of_the_settings():
    settings = DatasetSettings(language="en")
    defaults = command.__kwdefaults__
    others = ("whisper", "attended", "check")  # a folder, and how it runs
    assert {name: value for name, value in defaults.items() if name not in others} == {
        name: getattr(settings, name) for name in defaults if name not in others
    }
