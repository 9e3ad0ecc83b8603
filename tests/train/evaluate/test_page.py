"""The page's pieces: plots that are well-formed whatever they are given, and sentences in the order of their faults."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from more_train.evaluate.page import badness, page
from more_train.evaluate.plots import Points, Series, histogram, scatter, span, ticks
from more_train.evaluate.report import Figures, Material, Model, Report, Sentence, Verdict


@pytest.mark.parametrize("values", [[], [1.0], [0.2, 0.2], [-3.0, 1e6], [0.001, 0.0012, 0.0017]])
def test_plots_of_anything(values: list[float]) -> None:
    for picture in (
        histogram([Series('a "<b>"', values, "first"), Series("c", values[:1], "second")], "x < y", 1.0),
        scatter([Points("a", [(value, 2 * value, "<i>") for value in values], "first")], "across", "up"),
    ):
        root = ElementTree.fromstring(picture)
        assert root.tag == "svg"
        numbers = [float(one.get(name) or 0) for one in root.iter() for name in ("x", "y", "cx", "cy", "height")]
        assert all(-1 <= number <= 450 for number in numbers)


def test_axes_begin_and_end_on_round_numbers() -> None:
    assert span([0.23, 0.88]) == pytest.approx((0.2, 1.0))
    assert ticks(0.2, 1.0) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert span([5, 5]) == pytest.approx((4.4, 5.6), abs=0.2)


def sentence(**fields: object) -> Sentence:
    told = {"id": "1", "text": "<script>alert(1)</script>", "language": "en", "voice": "a&b"}
    return Sentence(**(told | fields))  # type: ignore[arg-type]


def test_the_worst_come_first() -> None:
    failed = sentence(failure="no letter")
    silent = sentence(silent=True)
    lost = sentence(rank=3, candidates=10, distance=0.5, nearest_other=0.3)
    close = sentence(rank=1, candidates=10, distance=0.5, nearest_other=0.51)
    clear = sentence(rank=1, candidates=10, distance=0.3, nearest_other=0.6)
    assert sorted([clear, close, silent, lost, failed], key=badness) == [failed, silent, lost, close, clear]


def test_nothing_of_a_text_is_markup() -> None:
    figures = Figures(
        sentences=2, spoken=1, failed=1, silent=0, found=0, accuracy=0, accuracy_low=0, accuracy_high=0.6, chance=0,
        margin=None, stopped=0, guards={"<u>": 1}, duration_ratio=None, duration_in_range=0, codes_per_character=None,
        reference_codes_per_character=None, similarity=None, other_similarity=None, reference_similarity=None,
        readers={"<u>": {"<u>": 1}}, steady_timbre=0.5, voices_told_apart=None,
        loudness=None, highest_peak=-120, clipped=0, signal_to_noise=None,
        word_error_rate=None, reference_word_error_rate=None, real_time_factor=0,
    )  # fmt: skip
    evil = '<img src="http://example.org/x">'
    model = Model(
        id=evil, path=evil, licence=evil, warning=evil, device="cpu", precision=evil, encoder="0", figures=figures,
        losses=None, sentences=(sentence(failure=evil), sentence(id="2", guards=(evil,), heard=evil, candidates=1)),
    )  # fmt: skip
    material = Material(
        name=evil, kind="sentences", references=evil, languages=(evil,), voices=(evil,), quality=evil, seed=1,
        recogniser=evil, left_out=(evil,),
    )  # fmt: skip
    report = Report(made=evil, material=material, models=(model,), verdicts=((Verdict("bad", evil),),))
    html = page(report, [{}], {})
    seen: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.add(tag)

    Tags().feed(html)
    assert not {"script", "img", "u"} & seen
    assert {"svg", "article", "details"} <= seen
