"""Who may import whom, who may touch what, and how long things may be: read from the source with `ast`."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import pytest

import more_server

ROOT = Path(__file__).resolve().parent.parent

# The server, lowest layer first. A unit is a module of more_server or a package in it with all that is inside.
LAYERS = (
    ("errors", "speech", "settings", "tables"),
    (
        "files",
        "reserve",
        "clock",
        "archive",
        "voice_toml",
        "logs",
        "text",
        "audio",
        "hookspecs",
        "leaving",
        "measures",
        "tracing",
        "threads",
        "graceful",
        "fields",
        "deadlines",
        "following",
    ),
    ("shared",),
    ("registry", "xtts", "keys", "audit", "report", "siblings"),
    ("engine", "models", "voices", "profiles", "chain", "talk", "languages"),
    ("fleet", "decisions"),
    ("voiceprints",),
    ("speak", "services", "jobs", "voicebank"),
    ("narration", "lessons"),
    ("administration",),
    ("web",),
    ("app", "cluster", "cli", "testing", "workers"),
)
# A unit imports from lower layers; within its own layer, only this.
BESIDE = {
    ("speech", "errors"),  # names that cannot be are BadInput
    ("settings", "tables"),  # which it is made of
    ("settings", "errors"),  # a setting that does not fit is a SettingsError
    ("cli", "app"),  # `serve` runs what app.py wires
    ("cli", "cluster"),  # as `cluster` does nodes, and what it deploys
    ("cluster", "app"),  # a replica is the application
    ("workers", "app"),  # so does each of its workers
    ("cli", "workers"),
}
# In more_server/__init__.py: what plugins see, so nothing but the words and the errors.
FRONT = {"errors", "files", "hookspecs", "leaving", "speech", "voice_toml"}

WITHOUT_TORCH = ("scheduler", "slots", "sequence", "guards", "breaker")
USERS_OF_COQUI = {"more_server/xtts/load.py", "more_server/xtts/torchaudio_shim.py"}
USERS_OF_DBOS = {"more_server/jobs/durable.py"}
USERS_OF_RAY = {"more_server/cluster/deployment.py"}  # an extra, and only on nodes of a cluster
USERS_OF_OPENTELEMETRY = {"more_server/tracing.py"}  # an extra, and only where traces are wanted
READERS_OF_THE_ENVIRONMENT = {"more_server/settings.py"}
# numpy is not here: it comes with more_server.speech, whose fields are arrays, and takes under 0.1 s.
TOO_SLOW_FOR_HELP = ("torch", "av", "litestar", "TTS", "dbos", "sqlalchemy", "psycopg", "lxml", "opentelemetry", "ray")

FILE_LINES, FUNCTION_LINES, MOST_FUNCTION_LINES = 400, 60, 35

SOURCES = ("more_server", "plugins", "train")
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
MUTATORS = {"add", "append", "clear", "discard", "extend", "insert", "pop", "remove", "setdefault", "update"}


class Source:
    """A Python file, parsed."""

    def __init__(self, root: Path, path: Path) -> None:
        self.name = path.relative_to(root).as_posix()
        self.text = path.read_text("utf-8")
        self.tree = ast.parse(self.text, self.name)
        # As it is installed: plugins/ and train/ are source roots, not packages.
        inside = self.name.removeprefix("plugins/").removeprefix("train/").removesuffix(".py").removesuffix("/__init__")
        self.module = inside.replace("/", ".")
        self.package = self.module if path.name == "__init__.py" else self.module.rpartition(".")[0]

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and dotted name of everything imported, anywhere in the file; `from a import b` is a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)

    def functions(self) -> Iterator[tuple[str, int]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{self.name}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def sources(root: Path, *folders: str) -> list[Source]:
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    # Not what tests/clients/install.py fetched.
    return [Source(root, path) for path in paths if not any(part[0] == "." for part in path.relative_to(root).parts)]


def unit(module: str) -> str:
    """`xtts` of more_server.xtts.load; empty for the package itself and for the names that it re-exports."""
    name = f"{module}.".split(".")[1]
    return "" if name in more_server.__all__ and name != "errors" else name


def forbidden_imports(root: Path) -> list[str]:
    """Imports that break a rule of the house, each with its place and the rule."""
    return [
        f"{source.name}:{line} imports {target}: {rule}"
        for source in sources(root, *SOURCES)
        for line, target in source.imports()
        if (rule := _rule_broken(root, source, target))
    ]


def _rule_broken(root: Path, source: Source, target: str) -> str | None:
    ours = source.name.split("/")[0]
    package, own = target.split(".")[0], source.module.split(".")[0]
    plugins, training = ({path.name for path in (root / folder).glob("more_*")} for folder in ("plugins", "train"))
    if package in {"tests", "conftest"}:
        return "nothing imports tests"
    if package in {"TTS", "torchaudio"} and source.name not in USERS_OF_COQUI and ours != "train":
        return "only xtts/load.py and its stand-in touch coqui"
    if package == "dbos" and source.name not in USERS_OF_DBOS:
        return "only jobs/durable.py touches dbos"
    if package == "psycopg" and not source.name.startswith("more_server/shared/"):
        return "only what servers share is asked of Postgres"
    if package == "sqlalchemy" and not source.name.startswith("more_server/jobs/"):
        return "only jobs touch the database"
    if package in plugins and package != own:
        return "nobody imports a plugin; it is found through its entry point"
    if package in training | {"more_train"} and ours != "train":
        return "training is a process of its own"
    if package == "more_server" and ours == "plugins" and not _is_public(target):
        return "plugins import the public names of more_server alone"
    if package == "opentelemetry" and source.name not in USERS_OF_OPENTELEMETRY:
        return "only tracing.py sends traces"
    if package == "ray" and source.name not in USERS_OF_RAY:
        return "only cluster/deployment.py knows Ray"
    return _layer_broken(source.module, target) if package == "more_server" == own else None


def _is_public(target: str) -> bool:
    return target == "more_server" or target.split(".")[1] in more_server.__all__


def _layer_broken(module: str, target: str) -> str | None:
    above, below = unit(module), unit(target)
    if not below or above == below:
        return None
    if not above:
        return None if below in FRONT else "the package itself holds its public names alone"
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    unplaced = [name for name in (above, below) if name not in layer]
    if unplaced:
        return f"{unplaced[0]} has no place in LAYERS"
    if layer[above] == layer[below]:
        return None if (above, below) in BESIDE else f"{above} and {below} stand in one layer"
    return None if layer[below] < layer[above] else f"{below} stands above {above}"


def environment_readers(root: Path) -> list[str]:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    found = []
    for source in sources(root, *SOURCES):
        if source.name in READERS_OF_THE_ENVIRONMENT:
            continue
        found += [
            f"{source.name}:{line} {name}" for line, name in source.imports() if name.removeprefix("os.") in names
        ]
        found += [
            f"{source.name}:{node.lineno} os.{node.attr}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os"
        ]
    return found


def mutable_globals(root: Path) -> list[str]:
    """State in modules: containers that begin empty, containers not written as constants, and changed ones."""
    found = []
    for source in sources(root, "more_server"):
        changed = set(_changed(source.tree))
        for name, value, line in _assignments(source.tree):
            if name == "__all__" or not _is_mutable(value):
                continue
            if _begins_empty(value):
                found.append(f"{source.name}:{line} {name} begins empty, so something fills it")
            elif name.upper() != name:
                found.append(f"{source.name}:{line} {name} is not written as a constant")
            elif name in changed:
                found.append(f"{source.name}:{line} {name} is changed")
        found += [
            f"{source.name}:{node.lineno} global {', '.join(node.names)}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Global)
        ]
    return found


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr, int]]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                yield target.id, value, node.lineno


def _called(value: ast.expr) -> str:
    return ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""


def _is_mutable(value: ast.expr) -> bool:
    return isinstance(value, MUTABLE) or _called(value) in MUTABLE_CALLS


def _begins_empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return not (value.args or value.keywords) or _called(value) == "defaultdict"
    return not (getattr(value, "elts", True) and getattr(value, "keys", True))


def _changed(tree: ast.Module) -> Iterator[str]:
    """Names that some statement changes in place: `NAME[…] = …`, `NAME |= …`, `NAME.append(…)`."""
    for node in ast.walk(tree):
        target: ast.AST | None = None
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            target = node.func.value
        if isinstance(target, ast.Name):
            yield target.id


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_go_downwards():
    assert forbidden_imports(ROOT) == []


def test_only_the_settings_read_the_environment():
    assert environment_readers(ROOT) == []


def test_modules_hold_no_state():
    assert mutable_globals(ROOT) == []


def test_admission_needs_no_torch():
    modules = ", ".join(f"more_server.engine.{name}" for name in WITHOUT_TORCH)
    done = python(f"import sys; sys.modules['torch'] = None; import {modules}")
    assert done.returncode == 0, done.stderr


def test_help_waits_for_nothing_heavy():
    done = python(f"import sys, more_server.cli; print(*(name for name in {TOO_SLOW_FOR_HELP} if name in sys.modules))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_public_names_are_sorted_and_there():
    assert all(first < second for first, second in pairwise(more_server.__all__))
    assert [name for name in more_server.__all__ if not hasattr(more_server, name)] == []


def test_files_are_short():
    lengths = {source.name: len(source.text.splitlines()) for source in sources(ROOT, *SOURCES, "tests")}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


@pytest.mark.parametrize("folder", SOURCES)
def test_functions_are_short(folder: str):
    lengths = dict(function for source in sources(ROOT, folder) for function in source.functions())
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
    if len(lengths) > 1:
        assert quantiles(lengths.values(), n=10, method="inclusive")[-1] <= MOST_FUNCTION_LINES


# The rules above find nothing in a tidy house; here they are shown one that is not.


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("more_server/speak.py", "import more_sample", "nobody imports a plugin"),
        ("more_server/speak.py", "from more_train import trainer", "a process of its own"),
        ("more_server/speak.py", "import tests.conftest", "nothing imports tests"),
        ("more_server/speak.py", "def late(): from TTS.api import TTS", "touch coqui"),
        ("more_server/xtts/gpt.py", "import torchaudio.transforms", "touch coqui"),
        ("more_server/speak.py", "def late(): from opentelemetry import trace", "only tracing.py"),
        ("more_server/cluster/node.py", "def late(): import ray", "only cluster/deployment.py"),
        ("more_server/jobs/worker.py", "def late(): from dbos import DBOS", "touches dbos"),
        ("more_server/web/jobs.py", "import sqlalchemy as sa", "touch the database"),
        ("more_server/keys.py", "def late(): import psycopg", "asked of Postgres"),
        ("more_server/xtts/gpt.py", "from more_server.engine import engine", "engine stands above xtts"),
        ("more_server/xtts/gpt.py", "from ..web.wire import Ready", "web stands above xtts"),
        ("more_server/xtts/gpt.py", "from .. import app", "app stands above xtts"),
        ("more_server/text/__init__.py", "from more_server.audio.read import read", "stand in one layer"),
        ("more_server/attic.py", "from more_server.errors import BadInput", "attic has no place"),
        ("more_server/__init__.py", "from more_server.engine.engine import Engine", "its public names alone"),
        ("plugins/more_sample/__init__.py", "from more_server.speak import Speaker", "public names"),
        ("plugins/more_sample/__init__.py", "from more_server import settings", "public names"),
        ("plugins/more_sample/__init__.py", "import more_other", "nobody imports a plugin"),
        ("train/more_train/__init__.py", "import more_sample", "nobody imports a plugin"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, line: str, rule: str):
    (tmp_path / "plugins" / "more_other").mkdir(parents=True)
    write(tmp_path / "plugins/more_sample/__init__.py", "")
    write(tmp_path / file, line)
    (found,) = forbidden_imports(tmp_path)
    assert found.startswith(f"{file}:1 ")
    assert rule in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("more_server/web/speech.py", "from more_server import errors"),
        ("more_server/web/speech.py", "from . import wire"),
        ("more_server/web/speech.py", "from ..speak import Speaker"),
        ("more_server/xtts/load.py", "import TTS, torchaudio"),
        ("more_server/jobs/durable.py", "import dbos, sqlalchemy"),
        ("plugins/more_sample/chain.py", "from more_server import Audio, errors"),
        ("plugins/more_sample/chain.py", "from more_server.errors import BadInput"),
        ("plugins/more_sample/chain.py", "from more_sample import settings"),
        ("train/more_train/trainer.py", "from more_server.xtts.load import build"),
    ],
)
def test_an_allowed_import_is_left_alone(tmp_path: Path, file: str, line: str):
    write(tmp_path / "plugins/more_sample/__init__.py", "")
    write(tmp_path / file, line)
    assert forbidden_imports(tmp_path) == []


@pytest.mark.parametrize(
    "line", ["import os; os.environ['HOME']", "from os import getenv", "import os; os.getenv('A')"]
)
def test_a_second_reader_of_the_environment_is_found(tmp_path: Path, line: str):
    write(tmp_path / "more_server/settings.py", line)
    write(tmp_path / "plugins/more_sample/__init__.py", line)
    assert [place.split(":")[0] for place in environment_readers(tmp_path)] == ["plugins/more_sample/__init__.py"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("_cache = {}", True),
        ("CACHE: dict[str, int] = dict()", True),
        ("SEEN = set()", True),
        ("import collections\nBY_NAME = collections.defaultdict(list, a=[])", True),
        ("names = ['a']", True),
        ("NAMES = ['a']\ndef more(): NAMES.append('b')", True),
        ("TABLE = {'a': 1}\ndef more(): TABLE['b'] = 2", True),
        ("def more():\n    global count", True),
        ("TABLE = {'a': 1}\ndef read(): return TABLE['a']", False),
        ("__all__ = ['more']", False),
        ("NAMES = ('a',)\nSET = frozenset({'a'})", False),
        ("def more():\n    found = []\n    found.append(1)", False),
    ],
)
def test_state_in_a_module_is_found(tmp_path: Path, code: str, state: bool):
    write(tmp_path / "more_server/text/words.py", code)
    assert bool(mutable_globals(tmp_path)) is state


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
