"""What the README pastes from the code: settings, routes, command line. `cog --check` holds it to them."""

import ast
import io
import itertools
import re
from contextlib import redirect_stdout
from pathlib import Path

import msgspec

from more_server import settings


def _lines(module: str, struct: str) -> dict[str, str]:
    """The line under each field of a struct."""
    tree = ast.parse(Path(module).read_text("utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == struct).body
    found = {}
    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[ast.unparse(field.target)] = str(after.value.value)
    return found


def settings_table() -> str:
    """Every setting, its variable, its default and what it is."""
    rows = ["| setting | variable | default | |", "|---|---|---|---|"]
    rows += _setting_rows(settings.Settings, "")
    return "\n".join(rows)


def _setting_rows(struct: type[msgspec.Struct], prefix: str) -> list[str]:
    rows = []
    described = _lines("more_server/settings.py", struct.__name__)
    for field in msgspec.structs.fields(struct):
        if isinstance(field.default, msgspec.Struct):
            rows += _setting_rows(type(field.default), f"{field.name}.")
            continue
        path = prefix + field.name
        if path == settings.PLUGINS:
            rows.append(f"| `plugins.<name>.…` | `MORE_PLUGINS__<NAME>__…` | | {described[field.name]} ↻ |")
            continue
        mark = " ↻" if path.partition(".")[0] in settings.RELOADABLE else ""
        default = ", ".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        shown = "" if field.name == "data_dir" else f"`{default}`" if default else "empty"
        variable = "MORE_" + path.upper().replace(".", "__")
        rows.append(f"| `{path}` | `{variable}` | {shown} | {described[field.name]}{mark} |")
    return rows


def speech_fields() -> str:
    """Fields of `POST /v1/audio/speech`."""
    described = _lines("more_server/web/wire.py", "SpeechBody")
    return "\n".join(["| field | |", "|---|---|", *(f"| `{name}` | {line} |" for name, line in described.items())])


def routes_table(*, admin: bool = False) -> str:
    """Every route with the first line of its docstring: those for administrators, or all others."""
    from more_server.app import HANDLERS

    rows = ["| route | |", "|---|---|"]
    for handler in HANDLERS:
        if any(path.startswith("/v1/admin") for path in handler.paths) is not admin:
            continue
        method = min(handler.http_methods)  # a set: GET before HEAD, whatever its order
        paths = "<br>".join(f"`{method} {re.sub(':(path|str)', '', path)}`" for path in sorted(handler.paths))
        rows.append(f"| {paths} | {(handler.fn.__doc__ or '').strip().splitlines()[0]} |")
    return "\n".join(rows)


def help_text(*command: str) -> str:
    """What `more-server COMMAND --help` prints, in a frame of 100 columns."""
    from rich.console import Console

    from more_server.cli import app

    text = io.StringIO()
    console = Console(file=text, width=100, color_system=None)
    with redirect_stdout(text):
        app([*command, "--help"], console=console, exit_on_error=False, result_action="return_value")
    return "```text\n" + "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines()) + "\n```"


__all__ = ("help_text", "routes_table", "settings_table", "speech_fields")
