"""`models`: what is on disk, what serves, and how more comes."""

from collections.abc import Sequence
from pathlib import Path

from cyclopts import App

from more_server.cli.output import bars, console, decided, size, table
from more_server.errors import ModelError

app = App(name="models", help="List, fetch, import and choose models.", help_format="plaintext")


@app.command(name="list")
def list_models() -> None:
    """Show the models on disk; the one that serves is marked."""
    from more_server.models import list_models

    made = table("", "model", "size", "parameters", "languages", "licence", "remarks")
    for info in list_models(decided()):
        languages = " ".join(info.languages)
        remarks = info.problem or info.warning or ("came with the server" if info.bundled else "")
        parameters = f"{info.parameters / 1e6:.1f} M" if info.parameters else ""
        mark = "→" if info.serving else ""
        made.add_row(mark, info.id, size(info.size_bytes), parameters, languages, info.licence, remarks)
    console().print(made)


@app.command
def use(model: str, /) -> None:
    """Choose the model that serves; a server that runs loads it, and lets it serve then.

    Parameters
    ----------
    model
        An id of `more-server models list`.
    """
    from more_server.models import use

    info = use(decided(), model)
    console().print(f"{info.id} serves, in a server that runs once it is loaded ({info.licence})")


@app.command
def remove(model: str, /) -> None:
    """Delete a model from disk.

    Parameters
    ----------
    model
        An id of `more-server models list`.
    """
    from more_server.models import remove

    remove(decided(), model)
    console().print(f"{model} is gone")


@app.command(name="import")
def import_model(folder: Path, /, *, name: str | None = None, licence: str | None = None) -> None:
    """Take in a model that is on disk: XTTS-v2 as published (model.pth …), fine-tuned, or in the serving format.

    Parameters
    ----------
    folder
        The model's folder; it is copied and left as it is.
    name
        Id to give it, instead of the folder's name.
    licence
        What the weights are under, where their folder does not say; XTTS-v2's own, non-commercial, unless given.
    """
    from more_server.models import XTTS2_LICENCE, import_folder

    with bars() as show:
        info = import_folder(decided(), folder, name, licence=licence or XTTS2_LICENCE, on_progress=show)
    console().print(
        f"{info.id}: {size(info.size_bytes)}, {_counted(info.languages, 'language')}, "
        f"{_counted(info.voices, 'voice')}, {info.licence}"
    )
    console().print(f"Let it speak with: more-server models use {info.id}")


@app.command
def pull(model: str, /, *, accept_license: bool = False) -> None:
    """Download a model, such as xtts-v2; an interrupted download goes on where it stopped.

    Parameters
    ----------
    model
        A name of the manifest, such as xtts-v2.
    accept_license
        Agree to the model's licence without being asked.
    """
    from more_server.models import pull, read_manifests

    loaded = decided()
    offered = read_manifests(loaded).find(model)
    accepted = (
        accept_license or not offered.must_accept or _asked(offered.title, offered.licence, offered.licence_address)
    )
    with bars() as show:
        result = pull(loaded, model, accept_license=accepted, on_progress=show)
    made = table("file", "size", "checked against")
    for file in result.files:
        made.add_row(file.name, size(file.size_bytes), file.verified_by)
    console().print(made)
    console().print(f"Let it speak with: more-server models use {model}")


def _counted(things: Sequence[str], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _asked(title: str, licence: str, address: str) -> bool:
    out = console()
    out.print(f"{title} is under: {licence}\n{address}")
    if not out.is_terminal:
        raise ModelError("the licence must be accepted: run it on a terminal, or add --accept-license")
    return out.input("Type yes to accept it: ").strip().lower() == "yes"
