"""`voices`: who can speak."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from more_server.cli.output import console, settings, table, voices
from more_server.errors import BadInput, StorageError

if TYPE_CHECKING:
    from more_server.audio.report import ReferenceReport
    from more_server.settings import Settings
    from more_server.speech import Voice
    from more_server.voices import VoiceLibrary, VoiceView

app = App(name="voices", help="List, add, mix, change and remove voices.", help_format="plaintext")


@app.command(name="list")
def list_voices() -> None:
    """Show the voices and the names they answer to."""
    loaded = settings()
    view = _view(loaded, voices(loaded))
    made = table("voice", "languages", "also called", "store", "licence", "description")
    for voice in view.voices:
        languages, aliases = " ".join(voice.languages), " ".join(voice.aliases)
        made.add_row(voice.id, languages, aliases, voice.store or "the model", voice.licence, voice.description)
    console().print(made)
    for problem in view.problems:
        console().print(problem, style="red")


@app.command
def add(
    name: str,
    clips: list[Path],
    /,
    *,
    title: str = "",
    language: str = "",
    alias: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
    description: str = "",
    licence: str = "",
    consent: str = "",
    source: str = "",
    store: str = "",
) -> None:
    """Clone a voice from recordings of it: 6 to 30 seconds of clean speech are good.

    Parameters
    ----------
    name
        What requests call it: lower-case letters, digits, - and _.
    clips
        One or more recordings: wav mp3 m4a ogg opus flac webm
    title
        What people see; without it, the name with capitals.
    language
        Language of the recordings, or several with commas; requests that name none are spoken in the first.
    alias
        Another name for requests; give it several times for several.
    description
        Shown where voices are listed.
    licence
        What the recordings may be used for.
    consent
        Who agreed to the voice being cloned, and how.
    source
        Where the recordings come from.
    store
        Where to keep it; without it, the first store that can be written.
    """
    from more_server.voicebank.details import check_free, check_new_id, new_voice
    from more_server.voices import named_clips, read_clip

    loaded = settings()
    check_new_id(name)
    texts = {"description": description, "licence": licence, "consent": consent, "source": source}
    fields = _checked(title, language, alias, texts)
    contents = named_clips([(clip.suffix.lower(), read_clip(clip, loaded.limits)) for clip in clips], loaded.limits)
    library, voice = voices(loaded), new_voice(name, fields, contents)
    check_free(_view(loaded, library), voice)
    _keep(loaded, library, "voices.create", voice, contents, store)


@app.command
def mix(
    name: str,
    parts: list[str],
    /,
    *,
    title: str = "",
    alias: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
    description: str = "",
    licence: str = "",
    consent: str = "",
    source: str = "",
    store: str = "",
) -> None:
    """Mix two to eight voices into a new one, which needs them no more.

    Parameters
    ----------
    name
        What requests call it: lower-case letters, digits, - and _.
    parts
        Each a voice, or voice=weight: `linden=2 rowan` is two thirds Linden.
    title
        What people see; without it, the name with capitals.
    alias
        Another name for requests; give it several times for several.
    description
        Shown where voices are listed; without it, what it is mixed of.
    licence
        What it may be used for, besides what is told of its parts.
    consent
        Who agreed to it, besides what is told of its parts.
    source
        Where it comes from, besides what is told of its parts.
    store
        Where to keep it; without it, the first store that can be written.
    """
    from more_server.voicebank.details import check_free
    from more_server.voicebank.mixture import mixed

    loaded = settings()
    library = voices(loaded)
    view = _view(loaded, library)
    texts = {"description": description, "licence": licence, "consent": consent, "source": source}
    fields = _checked(title, "", alias, texts)
    voice, contents = mixed(library, view, name, [_share(part) for part in parts], fields, loaded.limits)
    check_free(view, voice)
    _keep(loaded, library, "voices.mix", voice, contents, store)


@app.command
def rename(name: str, new_name: str, /) -> None:
    """Give a voice another name; programs that ask for the old one no longer find it.

    Parameters
    ----------
    name
        An id of `more-server voices list`.
    new_name
        What requests call it from now on: lower-case letters, digits, - and _.
    """
    from more_server.audit import COMMAND_LINE, AuditLog
    from more_server.voicebank.details import changed, put

    loaded = settings()
    library = voices(loaded)
    voice, made = changed(_view(loaded, library), name, {}, new_name)
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, "voices.change", name, {"name": new_name}):
        put(library, voice, made)
    console().print(f"{name} is called {made.id} now")


@app.command
def export(name: str, /, *, output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None) -> None:
    """Write a voice and its recordings into a zip archive.

    Parameters
    ----------
    name
        An id of `more-server voices list`.
    output
        The archive; without it, the voice's name with .zip in the working directory.
    """
    from more_server.files import write_file
    from more_server.voicebank.archive import pack
    from more_server.voicebank.details import exact

    loaded = settings()
    library = voices(loaded)
    voice = exact(_view(loaded, library), name)
    content, path = pack(voice, library.clips(voice)), output or Path(f"{voice.id}.zip")
    try:
        write_file(path, content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    console().print(f"{path}: {voice.id}, {len(voice.references)} recordings")


@app.command(name="import")
def import_(archive: Path, /, *, name: str = "", store: str = "") -> None:
    """Add a voice from a zip archive: of `voices export`, or of a folder with voice.toml and recordings.

    Parameters
    ----------
    archive
        The zip archive.
    name
        What to call it; without it, as the folder in the archive is called.
    store
        Where to keep it; without it, the first store that can be written.
    """
    from more_server.voicebank.archive import largest_archive, unpack
    from more_server.voicebank.details import check_free

    loaded = settings()
    try:
        with archive.open("rb") as file:
            content = file.read(largest_archive(loaded.limits) + 1)
    except OSError as error:
        raise BadInput(f"{archive} cannot be read: {error.strerror or error}", param="file") from error
    voice, contents = unpack(content, loaded.limits, name)
    library = voices(loaded)
    check_free(_view(loaded, library), voice)
    _keep(loaded, library, "voices.import", voice, contents, store)


@app.command
def remove(name: str, /) -> None:
    """Delete a voice and its recordings.

    Parameters
    ----------
    name
        An id of `more-server voices list`.
    """
    from more_server.audit import COMMAND_LINE, AuditLog
    from more_server.voicebank.details import check_changeable, exact

    loaded = settings()
    library = voices(loaded)
    voice = exact(_view(loaded, library), name)
    check_changeable(voice)
    told = {"title": voice.name, "store": voice.store}
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, "voices.delete", name, told):
        library.remove(name)
    console().print(f"{name} is gone")


def _view(loaded: "Settings", library: "VoiceLibrary") -> "VoiceView":
    from more_server.models import serving_model
    from more_server.voices import read_studio_voices

    return library.view(read_studio_voices(serving_model(loaded)))


def _checked(title: str, language: str, aliases: tuple[str, ...], texts: dict[str, str]) -> dict[str, Any]:
    """Fields of a voice that were given. Raises BadInput naming the field."""
    from more_server.voicebank.details import Details, checked, checked_languages

    told: dict[str, Any] = {field: text for field, text in {"title": title, **texts}.items() if text}
    if aliases:
        told["aliases"] = list(aliases)
    fields = checked(Details(**told))
    languages = checked_languages([tag for tag in language.split(",") if tag.strip()], "language")
    return fields | ({"languages": languages} if languages else {})


def _share(part: str) -> Any:
    from more_server.voicebank.mixture import Share

    voice, _, weight = part.partition("=")
    try:
        return Share(voice, float(weight or 1))
    except ValueError as error:
        raise BadInput(f"{part!r} is no voice=weight, such as linden=2", param="parts") from error


def _keep(
    loaded: "Settings", library: "VoiceLibrary", action: str, voice: "Voice", clips: dict[str, bytes], store: str
) -> None:
    """Keep a new voice, on record, and show how good its recordings are."""
    from more_server.audit import COMMAND_LINE, AuditLog
    from more_server.models import serving_model
    from more_server.voicebank.details import review, told
    from more_server.xtts.config import read_config

    spoken = read_config(serving_model(loaded)).languages
    report = review(clips, loaded.limits, voice.languages, spoken, loaded.default_language)
    library.store(store)
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, action, voice.id, told(voice, clips, store)):
        made = library.add(voice, clips, store)
    _show(report)
    console().print(f"{made.id} can speak; its recordings are in the store {made.store}")


def _show(report: "ReferenceReport") -> None:
    made = table("recording", "seconds", "speech", "loudness", "peak", "over noise", "clipped", "silence", "reaches")
    for clip in report.clips:
        made.add_row(
            clip.name,
            f"{clip.seconds:.1f}",
            f"{clip.speech_seconds:.1f}",
            f"{clip.loudness:.0f} LUFS",
            f"{clip.peak:.0f} dBFS",
            f"{clip.signal_to_noise:.0f} dB",
            f"{clip.clipped:.1%}",
            f"{clip.silence:.0%}",
            f"{clip.bandwidth / 1000:.1f} kHz",
        )
    console().print(made)
    for sentence in report.advice:
        console().print(f"→ {sentence}", style="yellow")
