"""How bodies are read."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from more_server.errors import BadInput
from more_server.web import wire

HALVES = st.characters(categories=["Cs"])
TEXTS = st.text(st.one_of(st.characters(), HALVES, st.sampled_from('\\"u😀'))).filter(bool)


def whole(text: str) -> str:
    """The text with U+FFFD for each half of a character that has no other half."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@given(TEXTS)
def test_texts_arrive_as_they_were_sent_but_for_halves_of_characters(text: str) -> None:
    body = wire.decode(json.dumps({"input": text, "other": [text]}).encode(), wire.SpeechBody)
    assert body.input == whole(text)


@given(st.binary(max_size=40))
def test_whatever_is_sent_is_read_or_refused(content: bytes) -> None:
    for sent in (content, b'{"input": "' + content + b'"}'):
        with suppress(BadInput):
            assert isinstance(wire.decode(sent, wire.SpeechBody).input, str)


def test_a_byte_order_mark_is_no_part_of_a_body() -> None:
    assert wire.decode(b'\xef\xbb\xbf{"input": "x"}', wire.SpeechBody).input == "x"


def test_a_byte_that_is_not_utf_8_is_counted_in_the_body() -> None:
    with pytest.raises(BadInput, match="at byte 14"):
        wire.decode(b'{"input": "caf\xe9"}', wire.SpeechBody)


@pytest.mark.parametrize("value", [None, True, "yes", 3, 1.5, [], {}, ["x"], {"a": 1}])
@pytest.mark.parametrize("field", ["instructions", "stream", "params", "lang_code", "backend"])
def test_what_is_not_followed_may_be_anything(field: str, value: object) -> None:
    assert wire.decode(json.dumps({"input": "x", field: value}).encode(), wire.SpeechBody).input == "x"
