"""LibreChat's server, request by request as its code makes them, and what it pipes into one body for its page.

It is too large to be installed for tests. Read in api/server/services/Files/Audio/ of danny-avila/LibreChat:
TTSService.js at commit 6aa8eff1 and, as the archive has it, at 00b3bc32; streamAudio.js at 07cf1c1e and 00b3bc32;
TTSService.spec.js at 33fbea50 and speechSSRF.spec.js at 7690ba14, whose own TTSService.js is not in the archive.

Beyond CLIENTS.md: the newest sends no Authorization at all for a key that it cannot make out (33fbea50), where
00b3bc32 sends `Bearer undefined` or the `${NAME}` of the yaml and 6aa8eff1 the word `undefined`; `voices: [ALL]` leaves
the voice out as `voices: []` does, in LocalAI mode the model, too, while yaml without `voices` fails before anything is
sent; text without a mark to cut at is cut at 1000 UTF-16 units, in the middle of a word or of an emoji; the pieces of a
message that is still being written are those of 20 characters and more up to the last mark; after a refusal in the
middle, or a connection that breaks, it neither asks again nor ends what it sends to its page.
"""

import http.client
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from tests.clients.situations import LONG, SPEECH, keyed, paused
from tests.web.audio import decoded
from tests.web.conftest import Server

TEXT = "The door is open."
MARKS = (".", "?", "!", "۔", "。", "‥", ";", "¡", "¿", "\n")
WHOLE, PIECE = 4096, 1000
"""UTF-16 units from which on a message is cut, and of a piece."""
SOME = 20
"""Units that a message must have grown by before more of it is spoken."""
AXIOS = {
    "Accept": "application/json, text/plain, */*",
    "Content-Type": "application/json",
    "User-Agent": "axios/1.12.1",
    "Accept-Encoding": "gzip, compress, deflate, br",
}


class FailedError(Exception):
    """Its page gets a 500 without a reason; the reason is in LibreChat's log."""


class BehindNginx(http.client.HTTPConnection):
    """As nginx asks unless it is told to speak HTTP/1.1."""

    _http_vsn, _http_vsn_str = 10, "HTTP/1.0"


class LibreChat:
    """With what stands in librechat.yaml below `speech.tts`: a provider, its `url`, and the rest of it."""

    def __init__(self, url: str, provider: str = "openai", **yaml: Any) -> None:
        self._url, self._provider, self._yaml = urlsplit(url), provider, {"voices": ["ALL"]} | yaml
        self.connection: type[http.client.HTTPConnection] = http.client.HTTPConnection
        self.authorization: str | None = "Bearer unused"
        self.seed = 0
        """With which the last answer was spoken."""

    def body(self, text: str, voice: str | None) -> dict[str, Any]:
        """The request without what is undefined."""
        chosen = self._voice(voice) if self._yaml["voices"] else None
        named = {"voice": chosen, "model": self._yaml.get("model")}
        if self._provider == "localai":
            named = {"model": chosen}
        every = {"input": text, "backend": self._yaml.get("backend")} | named
        return {key: value for key, value in every.items() if value is not None}

    def read_aloud(self, text: str, voice: str | None = None, whole: int = WHOLE, piece: int = PIECE) -> list[bytes]:
        """The answers that are piped, one behind the other, into one body of type audio/mpeg."""
        return [self.say(part, voice) for part in ([text] if units(text) < whole else pieces(text, piece))]

    def follow(self, snapshots: list[str], voice: str | None = None) -> list[bytes]:
        """The same for a message that is being written, as far as it had come whenever it was looked at."""
        done, answers = "", []
        for number, text in enumerate(snapshots, 1):
            rest = text[len(done) :]
            if number == len(snapshots):
                answers += [self.say(rest.strip(), voice)] if rest.strip() else []
            elif len(rest) >= SOME:
                part = rest[: last_mark(rest) + 1] or rest
                answers.append(self.say(part, voice))
                done += part
        return answers

    def say(self, text: str, voice: str | None) -> bytes:
        with self.asked(text, voice) as answer:
            return answer.read()

    @contextmanager
    def asked(self, text: str, voice: str | None = None) -> Iterator[http.client.HTTPResponse]:
        """An answer from its first byte on; redirects are not followed. Raises FailedError."""
        key = {} if self.authorization is None else {"Authorization": self.authorization}
        with closing(self.connection(self._url.netloc, timeout=30)) as connection:
            connection.request("POST", self._url.path, json.dumps(self.body(text, voice)).encode(), AXIOS | key)
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise FailedError(f"{answer.status}: {answer.read().decode()}")
            assert answer.getheader("content-type") == "audio/mpeg"  # which is what its page is told in any case
            self.seed = int(answer.getheader("x-seed", "0"))
            yield answer

    def _voice(self, wanted: str | None) -> str | None:
        known = [voice for voice in self._yaml["voices"] if voice.upper() != "ALL"]
        return wanted if wanted in known else next(iter(known), None)  # it draws lots


def units(text: str) -> int:
    """Length as JavaScript has it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def last_mark(text: str) -> int:
    return max(text.rfind(mark) for mark in MARKS)


def pieces(text: str, size: int) -> list[str]:
    """A long message in pieces up to their last mark; without one they end wherever they are full."""
    found, rest = [], text.encode("utf-16-le")
    while rest:
        part = rest[: 2 * size].decode("utf-16-le", "surrogatepass")
        if units(part) < len(rest) // 2 and (mark := last_mark(part)) >= 0:
            part = part[: mark + 1]
        rest = rest[2 * units(part) :]
        found += [part.strip()] if part.strip() else []
    return found


def straight(server: Server, asker: LibreChat, text: str, **body: Any) -> bytes:
    """What the server says, with the last answer's seed, to somebody who tells all that he wants."""
    return server.http().post(SPEECH, json={"input": text, "seed": asker.seed} | body).content


def check_one_mp3(answers: list[bytes]) -> None:
    """Piped into one body, they are heard to the end, and its player knows how long that takes."""
    joined = b"".join(answers)
    samples = sum(len(decoded(answer, "mp3")[0]) for answer in answers)
    heard, rate = decoded(joined, "mp3")
    assert len(heard) == samples
    assert min(float(np.abs(part).max()) for part in np.array_split(heard, len(answers))) > 0.01
    with av.open(io.BytesIO(joined)) as container:
        assert container.format.name == "mp3"
        assert abs((container.duration or 0) / av.time_base - samples / rate) < 0.1
    for answer in answers:
        assert answer.startswith(b"\xff\xf3")  # audio at once, and no tag instead of it
        assert not any(tag in answer[:64] for tag in (b"Xing", b"Info"))


@pytest.fixture
def url(server: Server) -> str:
    """As it is typed."""
    return server.url + SPEECH


# -- what is asked for


@pytest.mark.parametrize(
    ("yaml", "wanted", "sent", "meant"),
    [
        (
            {"model": "tts-1-hd", "voices": ["alloy", "nova"]},
            "nova",
            {"voice": "nova", "model": "tts-1-hd"},
            {"voice": "rowan", "quality": "high_quality"},
        ),
        ({"voices": ["rowan"], "backend": "kokoro"}, "undefined", {"voice": "rowan", "backend": "kokoro"}, {}),
        ({"model": "tts-1", "voices": []}, "nova", {"model": "tts-1"}, {"voice": "linden", "quality": "fast"}),
        ({"voices": ["ALL"]}, "nova", {}, {"voice": "linden"}),
        ({"provider": "localai", "voices": ["nova"], "backend": "x"}, None, {"model": "nova", "backend": "x"}, {}),
        ({"provider": "localai", "voices": ["linden", "rowan"]}, "rowan", {"model": "rowan"}, {}),
        ({"provider": "localai", "voices": ["ALL"], "backend": "x"}, "nova", {"backend": "x"}, {"voice": "linden"}),
    ],
)
def test_whatever_its_yaml_leaves_out_is_spoken_as_it_was_meant(
    server: Server, url: str, yaml: dict[str, Any], wanted: str | None, sent: dict[str, str], meant: dict[str, str]
) -> None:
    librechat = LibreChat(url, **yaml)
    assert librechat.body(TEXT, wanted) == {"input": TEXT} | sent
    [answer] = librechat.read_aloud(TEXT, wanted)
    assert answer == straight(server, librechat, TEXT, **(meant or {"voice": "rowan"}))


@pytest.mark.parametrize(
    "junk", [None, "undefined", "Bearer undefined", "Bearer ${TTS_API_KEY}", "Bearer ", "Bearer null", "Bearer sk-1"]
)
def test_any_authorization_will_do_without_keys_on_the_server(url: str, junk: str | None) -> None:
    librechat = LibreChat(url)
    librechat.authorization = junk
    assert librechat.read_aloud("Hi.")


def test_a_key_of_the_servers_is_asked_for(server: Server, url: str) -> None:
    librechat = LibreChat(url)
    with keyed(server) as secret:
        for junk in (None, "undefined", "Bearer undefined", "Bearer ${TTS_API_KEY}"):
            librechat.authorization = junk
            with pytest.raises(FailedError, match=r"401: .*invalid_api_key"):
                librechat.read_aloud("Hi.")
        librechat.authorization = f"Bearer {secret}"
        assert librechat.read_aloud("Hi.")


@pytest.mark.parametrize("path", [SPEECH, SPEECH + "/", "/" + SPEECH])
def test_nothing_is_redirected(server: Server, path: str) -> None:
    assert LibreChat(server.url + path).read_aloud("Hi.")


def test_a_wrong_address_is_told_and_not_redirected(server: Server) -> None:
    for path in ("/", "/v1", "/v1/", "/audio/speech"):
        with pytest.raises(FailedError, match=r"40[45]: .*POST /v1/audio/speech"):
            LibreChat(server.url + path).read_aloud("Hi.")


def test_its_log_says_why_nothing_is_heard(url: str) -> None:
    with pytest.raises(FailedError, match=r"404: .*there is no voice 'nobody'; there are: linden, rowan"):
        LibreChat(url, voices=["nobody"]).read_aloud(TEXT)
    with pytest.raises(FailedError, match=r"404: .*there is no model 'nobody'"):
        LibreChat(url, "localai", voices=["nobody"]).read_aloud(TEXT)
    with pytest.raises(FailedError, match=r"400: .*input is empty"):
        LibreChat(url).read_aloud(" ")


# -- what is piped


def test_a_message_just_below_its_limit_is_taken_whole(url: str) -> None:
    text = ("Come in. " * WHOLE)[: WHOLE - 1]
    with LibreChat(url).asked(text) as answer:
        assert answer.read(1)


def test_the_beginning_is_piped_before_the_end_is_made(url: str) -> None:
    with paused() as heard, LibreChat(url).asked(LONG) as answer:
        assert answer.read1(1)
        heard.set()


@pytest.mark.parametrize("provider", ["openai", "localai"])
def test_the_pieces_of_a_long_message_are_one_mp3(url: str, provider: str) -> None:
    text = "The door is open. Please come in! It is raining\nIs it cold? Sit down; there is tea."
    answers = LibreChat(url, provider, voices=["nova"]).read_aloud(text, "nova", whole=40, piece=20)
    assert len(answers) == 6
    check_one_mp3(answers)


def test_a_message_that_is_still_being_written_is_one_mp3(url: str) -> None:
    message = "**Sure!** The door is open. Please come in, it is raining; and there is tea"
    answers = LibreChat(url).follow([message[:8], message[:40], message[:66], message])
    assert len(answers) == 3
    check_one_mp3(answers)


def test_words_that_were_cut_in_two_are_spoken(url: str) -> None:
    """Without a mark a piece ends where it is full."""
    answers = LibreChat(url).read_aloud("one two three four five six seven", whole=20, piece=10)
    assert len(answers) == 4
    check_one_mp3(answers)


def test_an_emoji_that_was_cut_in_two_is_no_reason_to_be_silent(url: str) -> None:
    """JSON carries its halves as escapes, each in a piece of its own."""
    text = "come in \N{SMILING FACE WITH OPEN MOUTH} and sit down"
    assert pieces(text, 9)[0] == "come in \ud83d"
    check_one_mp3(LibreChat(url).read_aloud(text, whole=9, piece=9))


def test_behind_a_proxy_that_speaks_http_1_0_pieces_are_one_mp3_too(url: str) -> None:
    librechat = LibreChat(url)
    librechat.connection = BehindNginx
    check_one_mp3(librechat.read_aloud("The door is open. Please come in.", whole=20, piece=20))
