"""What both READMEs paste from the code: settings, routes, command line, hooks. `cog --check` holds them to it."""

import ast
import importlib
import inspect
import io
import itertools
import re
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import msgspec

from more_server import settings
from more_server.web import wire
from tests.clients.versions import CLIENTS

WIRE = "more_server/web/wire.py"


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
    described = _lines(struct.__module__.replace(".", "/") + ".py", struct.__name__)
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
    return _fields(_lines(WIRE, "SpeechBody") | _lines(WIRE, "SpeechOptions"))


def job_fields(module: str, struct: str) -> str:
    """Fields of a kind of job, beside `kind` and `webhook`."""
    return _fields(_lines(module, struct))


def _fields(described: dict[str, str]) -> str:
    return "\n".join(["| field | |", "|---|---|", *(f"| `{name}` | {line} |" for name, line in described.items())])


def stream_messages(*names: str) -> str:
    """Messages of the WebSocket by the structs' names, with their fields and what they mean."""
    rows = ["| message | fields | |", "|---|---|---|"]
    for name in names:
        struct = getattr(wire, name)
        fields = [f"`{field}`" for field in struct.__struct_fields__]
        if issubclass(struct, wire.SpeechOptions):
            fields = ["those of `POST /v1/audio/speech`, without `input`"]
        rows.append(f"| `{struct.__struct_config__.tag}` | {', '.join(fields)} | {' '.join(struct.__doc__.split())} |")
    return "\n".join(rows)


def clients_table() -> str:
    """Every client that is tested, with its version and what to type into it."""
    rows = ["| client | tested | address | key |", "|---|---|---|---|"]
    rows += [f"| {one.name} | {one.version} | {' | '.join(one.settings)} |" for one in CLIENTS]
    return "\n".join(rows)


def routes_table(*, admin: bool = False) -> str:
    """Every route with the first line of its docstring: those for administrators, or all others."""
    from more_server.app import HANDLERS

    rows = ["| route | |", "|---|---|"]
    for handler in HANDLERS:
        if any(path.startswith("/v1/admin") for path in handler.paths) is not admin:
            continue
        methods = getattr(handler, "http_methods", {"WebSocket"})
        method = min(methods)  # a set: GET before HEAD, whatever its order
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


# -- plugins/README.md


def hook_headings() -> dict[str, str]:
    """Every hook by name, with its signature, in the order of hookspecs.py."""
    return {name: heading for name, (heading, _) in _hooks().items()}


def _hooks() -> dict[str, tuple[str, str]]:
    """Signature and docstring of every hook by name."""
    found = {}
    for node in ast.parse(Path("more_server/hookspecs.py").read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(one) == "hookspec" for one in node.decorator_list):
            assert node.returns is not None
            signature = f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
            found[node.name] = (signature, ast.get_docstring(node) or "")
    return found


def shipped() -> dict[str, ModuleType]:
    """Every plugin that ships, by name, imported."""
    points = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    return {name: importlib.import_module(module) for name, module in sorted(points["more_server.plugins"].items())}


def hooks_of(plugin: ModuleType) -> list[str]:
    """The hooks that it implements."""
    return [name for name in _hooks() if hasattr(getattr(plugin, name, None), "more_server_impl")]


def hook(name: str) -> str:
    """Heading of a hook, what it is for, and who uses it."""
    heading, docstring = _hooks()[name]
    users = [f"[{one}](#{one})" for one, plugin in shipped().items() if name in hooks_of(plugin)]
    return f"## {heading}\n\n{docstring}\n\nUsed by {', '.join(users)}."


def members_table(module: str, name: str) -> str:
    """Fields and methods of a class, with what stands under them."""
    lines = {field: " ".join(line.split()) for field, line in _lines(module, name).items()}
    rows = ["| | |", "|---|---|", *(f"| `{field}` | {line} |" for field, line in lines.items())]
    tree = ast.parse(Path(module).read_text("utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name).body
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
            names = ", ".join(one.arg for one in node.args.args[1:])
            rows.append(f"| `{awaited}{node.name}({names})` | {' '.join((ast.get_docstring(node) or '').split())} |")
    return "\n".join(rows)


def plugins_table() -> str:
    """Every plugin that ships, with the first line of its docstring."""
    rows = ["| plugin | offers | |", "|---|---|---|"]
    for name, plugin in shipped().items():
        off = "" if getattr(plugin, "enabled_by_default", True) else " Off by default."
        rows.append(f"| [{name}](#{name}) | {', '.join(hooks_of(plugin))} | {_first_line(plugin)}{off} |")
    return "\n".join(rows)


def plugin_settings(name: str) -> str:
    """Heading of a plugin, what its module says, and a table of its settings."""
    from more_server.cli.plugins import as_toml, described
    from more_server.registry.settings import schema

    plugin = shipped()[name]
    struct = getattr(plugin, "Settings", None)
    if struct is None:
        return f"### {name}\n\n{inspect.cleandoc(plugin.__doc__ or '')}\n\nIt has no settings."
    defaults = msgspec.to_builtins(struct(), enc_hook=str)
    rows = ["| setting | default | may be | |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | `{as_toml(defaults[field.name])}` | {field.allowed} | {field.line} |"
        for field in described(schema(struct))
    ]
    return "\n".join([f"### {name}", "", inspect.cleandoc(plugin.__doc__ or ""), "", *rows])


def _first_line(plugin: ModuleType) -> str:
    return (plugin.__doc__ or "").strip().splitlines()[0]


__all__ = (
    "help_text",
    "hook",
    "hook_headings",
    "hooks_of",
    "job_fields",
    "members_table",
    "plugin_settings",
    "plugins_table",
    "routes_table",
    "settings_table",
    "shipped",
    "speech_fields",
)
