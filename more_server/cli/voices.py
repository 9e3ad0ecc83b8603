"""`voices`: who can speak."""

from pathlib import Path

from cyclopts import App

from more_server.cli.output import console, settings, table, voices

app = App(name="voices", help="List, add and remove voices.", help_format="plaintext")


@app.command(name="list")
def list_voices() -> None:
    """Show the voices and the names they answer to."""
    from more_server.models import serving_model
    from more_server.voices import read_studio_voices

    loaded = settings()
    view = voices(loaded).view(read_studio_voices(serving_model(loaded)))
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
    language: str = "",
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
    store
        Where to keep it; without it, the first store that can be written.
    """
    from more_server.errors import BadInput, allowed
    from more_server.speech import Voice, check_voice_id
    from more_server.text import LANGUAGES, resolve_language
    from more_server.voices import named_clips, read_clip

    loaded = settings()
    resolved = resolve_language(language) if language else None
    if language and resolved is None:
        raise BadInput(f"there is no language {language!r}; there are: {allowed(LANGUAGES)}", param="language")
    check_voice_id(name)
    contents = named_clips([(clip.suffix.lower(), read_clip(clip, loaded.limits)) for clip in clips], loaded.limits)
    voice = Voice(
        id=name,
        name=name.replace("-", " ").replace("_", " ").title(),
        languages=(resolved,) if resolved else (),
        references=tuple(contents),
        description=description,
        licence=licence,
        consent=consent,
        source=source,
    )
    made = voices(loaded).add(voice, contents, store)
    console().print(f"{made.id} can speak; its recordings are in the store {made.store}")


@app.command
def remove(name: str, /) -> None:
    """Delete a voice and its recordings.

    Parameters
    ----------
    name
        An id of `more-server voices list`.
    """
    voices(settings()).remove(name)
    console().print(f"{name} is gone")
