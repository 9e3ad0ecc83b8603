"""`voices`: who can speak."""

from pathlib import Path

from cyclopts import App

from more_server.cli.output import console, settings, table

app = App(name="voices", help="List, add and remove voices.", help_format="plaintext")


@app.command(name="list")
def list_voices() -> None:
    """Show the voices and the names they answer to."""
    from more_server.models import serving_model
    from more_server.voices import VoiceLibrary, read_studio_voices

    loaded = settings()
    library = VoiceLibrary(loaded.voice_dirs, read_studio_voices(serving_model(loaded)))
    made = table("voice", "languages", "also called", "licence", "description")
    for voice in library.all():
        languages, aliases = " ".join(voice.languages), " ".join(voice.aliases)
        made.add_row(voice.id, languages, aliases, voice.licence, voice.description)
    console().print(made)
    for problem in library.problems():
        console().print(problem, style="red")


@app.command
def add(
    name: str,
    clips: list[Path],
    /,
    *,
    language: str = "",
    description: str = "",
    licence: str = "",
    consent: str = "",
    source: str = "",
) -> None:
    """Clone a voice from recordings of it: 6 to 30 seconds of clean speech are good.

    Parameters
    ----------
    name
        What requests call it: lower-case letters, digits, - and _.
    clips
        One or more recordings: wav mp3 m4a ogg opus flac webm
    language
        Language of the recordings; requests that name none are spoken in it.
    description
        Shown where voices are listed.
    licence
        What the recordings may be used for.
    consent
        Who agreed to the voice being cloned, and how.
    source
        Where the recordings come from.
    """
    from more_server.errors import BadInput, allowed
    from more_server.text import LANGUAGES, resolve_language
    from more_server.voices import VoiceLibrary, VoiceMetadata, check_voice_id, read_clip

    loaded = settings()
    check_voice_id(name)
    resolved = resolve_language(language) if language else None
    if language and resolved is None:
        raise BadInput(f"there is no language {language!r}; there are: {allowed(LANGUAGES)}", param="language")
    metadata = VoiceMetadata(
        name=name.replace("-", " ").replace("_", " ").title(),
        languages=(resolved,) if resolved else (),
        description=description,
        licence=licence,
        consent=consent,
        source=source,
    )
    contents = [(clip.suffix.lower(), read_clip(clip, loaded.limits)) for clip in clips]
    voice = VoiceLibrary(loaded.voice_dirs).add(name, contents, metadata, loaded.limits)
    console().print(f"{voice.id} can speak; its recordings are in {voice.references[0].parent}")


@app.command
def remove(name: str, /) -> None:
    """Delete a voice and its recordings.

    Parameters
    ----------
    name
        An id of `more-server voices list`.
    """
    from more_server.voices import VoiceLibrary

    VoiceLibrary(settings().voice_dirs).remove(name)
    console().print(f"{name} is gone")
