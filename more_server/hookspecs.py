"""What plugins can do. Each hook is a function with the signature and the words below; `plugins/README.md` shows how.

A hook is called once when its plugin is enabled and again when its settings change, never per request. Everything that
it offers is then used as a plain object.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pluggy

from more_server.errors import BadInput
from more_server.speech import Audio, PostProcessorKind, Profile, SpeechRequest, Utterance, Voice

PROJECT = "more_server"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""


class Talk(Protocol):
    """Text that arrives in pieces, spoken while it is still being written."""

    characters: int
    """Of all text so far."""
    utterance: Utterance | None
    """What is being spoken, or was last."""
    text: str
    """The same as it was written."""

    def add(self, text: str) -> None:
        """More text, cut anywhere: inside a word, too."""

    def end(self) -> None:
        """There is no more text."""

    def speak(self) -> AsyncGenerator[Audio, None]:
        """Audio of it all, once; leaving the iterator stops the work. Raises BadInput and its kin."""


class Server(Protocol):
    """The running server, as services and routes of plugins see it."""

    settings: Any
    """The server's own, to be read."""

    async def resolve(self, request: SpeechRequest, request_id: str) -> Utterance:
        """Settle what a request left open. Raises BadInput and its kin, Busy or Unavailable."""

    def speak(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        """Audio of an utterance as it is made, post-processed. Leaving the iterator stops the work."""

    def spoken(self, request: SpeechRequest, request_id: str, format_name: str) -> AsyncGenerator[bytes, None]:
        """Encoded audio of a request as it is made: mp3, opus, aac, flac, wav or pcm. Writes the log line."""

    def talk(self, request: SpeechRequest, request_id: str) -> Talk:
        """For text that arrives in pieces; that of the request is not looked at. It is spoken sentence by sentence."""

    def languages(self) -> tuple[str, ...]:
        """What the model that serves speaks, such as `en` or `zh-cn`."""

    def all_voices(self) -> list[Voice]:
        """Every voice, in order of id. Blocks."""

    async def prepare(self, voice: Voice) -> None:
        """Work out ahead what the first request for a voice would wait for. Raises BrokenVoice."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook is given."""

    plugin: str
    """The plugin's name."""
    settings: Any
    """An instance of the plugin's own `Settings`; None where it declares none."""
    data_dir: Path
    """Where everything that the server writes lies; a plugin writes below a folder of its own there."""
    bundled_dir: Path
    """Where the models/ and voices/ lie that came with the server."""
    server: Server
    """To be used from routes and services alone: while hooks are called, nothing speaks yet."""
    shared: dict[str, Any] = {}
    """For what several hooks of the plugin work on, such as a store and the service that watches it: empty at first,
    and another one whenever the hooks are called anew."""


class Listing(msgspec.Struct, frozen=True):
    """What a store holds."""

    voices: tuple[Voice, ...]
    problems: tuple[str, ...] = ()
    """A sentence for each voice that is there and cannot be used."""


class VoiceStore(ABC):
    """Keeps voices: their reference clips, what is known of them, and what was worked out from them.

    Methods are called on any thread, several at a time. Each either does all of its work or none; what a killed
    process leaves behind is never listed. Besides what they name they raise StorageError where the storage fails:
    full, read-only, out of reach.
    """

    name: str
    """Among all stores of a server."""
    writable = True
    """Whether voices can be written to it."""

    @abstractmethod
    def list(self) -> Listing:
        """All of its voices, as they are now; called for every request, so from memory where that can be known."""

    @abstractmethod
    def read(self, voice_id: str, reference: str) -> bytes:
        """Content of a reference clip. Raises VoiceNotFound."""

    def write(self, voice: Voice, clips: Mapping[str, bytes]) -> None:
        """Keep a new voice, whose `references` are the names in `clips`.

        Raises BadInput where the id is taken or a name does not fit (`check_voice_id`, `check_reference_name`).
        """
        raise self._refusal()

    def update(self, voice: Voice) -> None:
        """Replace what is known of a voice, its clips and mix excepted. Raises VoiceNotFound."""
        raise self._refusal()

    def delete(self, voice_id: str) -> None:
        """Remove a voice. Raises VoiceNotFound, or BadInput for one that must stay."""
        raise self._refusal()

    @abstractmethod
    def read_derived(self, key: str) -> bytes | None:
        """What was kept under a key (64 hexadecimal digits); None where there is nothing or it cannot be read."""

    @abstractmethod
    def write_derived(self, key: str, content: bytes) -> None:
        """Keep something that can be worked out again; a store whose voices cannot be written keeps it too."""

    def _refusal(self) -> BadInput:
        return BadInput(f"the voices of the store {self.name!r} can be neither changed nor removed", param="voice")


class Service(ABC):
    """Something with a lifetime: it runs while its plugin is enabled and the server is up."""

    alone = False
    """Of all workers of a server (`server.workers`) one runs it, such as what binds a port; else each has its own."""

    @abstractmethod
    async def start(self) -> None:
        """Begin, and return once it has begun; what it raises is shown on the plugin's row."""

    @abstractmethod
    async def stop(self) -> None:
        """End, and return when all of it has ended."""


@hookspec
def profiles(context: Context) -> Sequence[Profile]:  # type: ignore[empty-body]
    """Quality profiles, which requests name in `quality`."""


@hookspec
def voice_stores(context: Context) -> Sequence[VoiceStore]:  # type: ignore[empty-body]
    """Places that keep voices. A voice in an earlier store hides one of the same id in a later one."""


@hookspec
def post_processors(context: Context) -> Sequence[PostProcessorKind]:  # type: ignore[empty-body]
    """Steps between the model's audio and the encoder, which profiles name in `post_processors`."""


@hookspec
def routes(context: Context) -> Sequence[Any]:  # type: ignore[empty-body]
    """Litestar route handlers; `opt={"scope": "admin"}` asks for another scope of the caller's key than `speech`."""


@hookspec
def services(context: Context) -> Sequence[Service]:  # type: ignore[empty-body]
    """Listeners, watchers and whatever else runs beside the requests."""
