"""`serve` and `say`."""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from more_server.cli.output import console, settings
from more_server.errors import MoreError, SettingsError
from more_server.settings import COMMAND_LINE, Loaded, Settings, read
from more_server.speech import SpeechRequest
from more_server.tables import ServerSettings

if TYPE_CHECKING:
    from more_server.logs import RecentLines


def serve(*, host: str | None = None, port: int | None = None, workers: int | None = None) -> None:
    """Answer OpenAI's speech API over HTTP.

    Parameters
    ----------
    host
        Address to bind, instead of the setting server.host.
    port
        TCP port, instead of the setting server.port.
    workers
        Processes with an engine each, instead of the setting server.workers.
    """
    import msgspec

    from more_server import logs
    from more_server.decisions import take_up_decisions
    from more_server.keys import check_reach

    said = {"host": host, "port": port, "workers": workers}
    changes = {name: value for name, value in said.items() if value is not None}

    def reread() -> Loaded:
        """Settings as they are now, what was said on the command line before all else."""
        found = read()
        server = _changed(found.settings.server, changes)
        sources = {f"server.{name}": COMMAND_LINE for name in changes}
        return Loaded(msgspec.structs.replace(found.settings, server=server), found.sources | sources)

    now = reread()
    loaded = now.settings
    lines = logs.RecentLines()
    logs.configure(loaded.log_level, loaded.log_format, lines)
    take_up_decisions(loaded)
    check_reach(loaded)
    listening = _bind(loaded)
    try:
        if loaded.server.workers > 1:
            _run_workers(now, changes, listening, reread, lines)
        else:
            _run(loaded, listening, reread, lines)
    finally:
        listening.close()


def _changed(server: ServerSettings, said: dict[str, Any]) -> ServerSettings:
    """Raises SettingsError."""
    import msgspec

    try:
        return msgspec.convert(msgspec.structs.asdict(server) | said, ServerSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"what the command line says of `server` does not fit: {error}") from error


def _bind(loaded: Settings) -> socket.socket:
    host, port = loaded.server.host, loaded.server.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be bound: {error.strerror}. Choose another with --port, --host, "
            "or the settings server.port and server.host"
        ) from error
    # Connections inherit it; asyncio sets it only on sockets that name their protocol, which these do not. Without it
    # the first audio waits for a delayed acknowledgement: 68 ms instead of 25, measured on loopback.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _run(loaded: Settings, listening: socket.socket, reread: Callable[[], Loaded], lines: "RecentLines") -> None:
    from more_server.app import create_app, kinds_of_jobs, web_server
    from more_server.graceful import settle

    failures: list[BaseException] = []

    def started(error: BaseException | None) -> None:
        if error is not None:
            failures.append(error)
            server.should_exit = True
            return
        settle()
        _tell_ready(listening)

    server = web_server(create_app(loaded, started, reread, kinds_of_jobs, lines), loaded)
    server.run(sockets=[listening])
    for failure in failures:
        if isinstance(failure, MoreError):
            raise failure
        raise RuntimeError("the server could not start") from failure


def _run_workers(
    now: Loaded, said: dict[str, Any], listening: socket.socket, reread: Callable[[], Loaded], lines: "RecentLines"
) -> None:
    from more_server.workers.pool import Pool

    Pool(now, said, listening, reread, lines).run(lambda: _tell_ready(listening))


def _tell_ready(listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    console().print(f"MORE is ready: http://{name}:{port}/")


def say(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Annotated[str, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)] = "speech.mp3",
    audio_format: Annotated[str | None, Parameter(name="--format")] = None,
    voice: str | None = None,
    quality: str | None = None,
    language: str | None = None,
    speed: float = 1.0,
    seed: int | None = None,
) -> None:
    """Speak a text, without a server.

    What another program writes is spoken while it goes on writing, such as
    `some-model | more-server say - -o - | aplay`.

    Parameters
    ----------
    text
        What to say; "-" reads it from standard input, sentence by sentence.
    output
        File to write; "-" is standard output, as soon as there is audio.
    audio_format
        mp3, opus, aac, flac, wav or pcm; else the ending of the file says it, and standard output is wav.
    voice
        A voice's id or alias; `more-server voices list` shows them.
    quality
        fast, balanced or high_quality.
    language
        Language of the text, such as en or pt-BR.
    speed
        0.25 to 4; 1 is the quality profile's own tempo.
    seed
        The same seed says it the same way again.
    """
    from more_server import logs
    from more_server.cli.say import Target, spoken

    loaded = settings()
    logs.configure("warning", loaded.log_format)
    target = Target.named(output, audio_format)
    request = SpeechRequest(
        text="" if text == "-" else text,
        voice=voice,
        quality=quality,
        language=language,
        speed=speed,
        seed=seed,
        whole=text != "-" and not target.streams,
        door="say",
    )
    console(stderr=target.streams).print(asyncio.run(spoken(loaded, request, target, piped=text == "-")))
