"""The plugin that plugins/README.md begins with: its files and its commands, run as a stranger would."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest

from more_server.registry import Registry
from more_server.registry.discover import distinct, in_folder
from more_server.settings import read
from tests.web.audio import decoded

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "plugins" / "README.md").read_text("utf-8")
STEPS = README.partition("\n## In five minutes\n")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"^`(more_chime/\S+)`\n\n```\w+\n(.*?)^```", STEPS, flags=re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"^```sh\n(.*?)^```", STEPS, flags=re.DOTALL | re.MULTILINE)
BELL = 14_400
"""Samples of 0.6 s at nano's 24 kHz."""

SCRIPTS = {"pip": "pip._internal.cli.main:main", "more-server": "more_server.cli:main", "pytest": "pytest:console_main"}
"""As pip would write them, had all of these been installed anew."""


class Stranger:
    """Somebody with a fresh environment, a folder of their own, and the two files of the README in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        self._prefix = folder / "environment"
        venv.create(self._prefix)
        (packages,) = self._prefix.glob("lib/python*/site-packages")
        # What is installed here is lent: it stands behind the environment's own, and pip writes nothing to it. Editable
        # installations do not work through such a path, so the server's two folders are named.
        lent = (sysconfig.get_path("purelib"), ROOT, ROOT / "plugins")
        (packages / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
        for name, place in SCRIPTS.items():
            module, _, function = place.partition(":")
            imported = f"import sys\nfrom {module} import {function} as main"
            script = f"#!/usr/bin/env python\n{imported}\nsys.exit(main())\n"
            (self._prefix / "bin" / name).write_text(script)
            (self._prefix / "bin" / name).chmod(0o755)

    def run(self, script: str, folder: Path | None = None) -> str:
        """Standard output of shell commands, of which none fails."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MORE_", "PIP_", "PYT"))}
        own = {
            "PATH": f"{self._prefix}/bin:{os.environ['PATH']}",
            "MORE_DATA_DIR": str(self.folder / "data"),
            "MORE_ENGINE__THREADS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # "no" to the isolation, in pip's way of reading it: setuptools is lent too
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=folder or self.folder,
            env=kept | own,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def heard(self, name: str) -> np.ndarray:
        return decoded((self.folder / name).read_bytes(), "wav")[0]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return Stranger(tmp_path_factory.mktemp("stranger"))


def states(listed: str) -> dict[str, tuple[str, ...]]:
    """The words of `plugins list` by plugin."""
    return {line.split()[0]: tuple(line.split()[1:]) for line in listed.splitlines()[1:]}


def level(samples: np.ndarray) -> float:
    """Peak in dB of full scale."""
    return float(20 * np.log10(np.abs(samples).max()))


def test_the_readme_in_its_order(stranger: Stranger) -> None:
    install, hear, change, promises, as_file = COMMANDS

    listed, _, shown = stranger.run(install).partition("more_chime 0.1.0: active, from more-chime 0.1.0")
    words = states(listed[listed.index("plugin ") :])
    assert words["more_chime"] == ("active", "0.1.0", "profiles", "post_processors", "more-chime", "0.1.0")
    assert {"more_profiles", "more_silence", "more_loudness"} < set(words)
    assert "\nvolume_db = -16.0\n    a number from -60 to 0\n    Peak of the bell, in dB of full scale.\n" in shown

    stranger.run(hear)
    stranger.run(hear.replace("chime", "balanced").replace("dinner.wav", "plain.wav"))
    dinner, plain = stranger.heard("dinner.wav"), stranger.heard("plain.wav")
    assert len(plain) > 12_000
    assert np.array_equal(dinner[BELL:], plain)
    assert level(dinner[:BELL]) == pytest.approx(-16, abs=0.5)
    assert np.abs(np.fft.rfft(dinner[:BELL])).argmax() * 24_000 / BELL == pytest.approx(660, abs=2)

    assert "more_chime has volume_db = -40.0." in stranger.run(change)
    softer = stranger.heard("softer.wav")
    assert level(softer[:BELL]) == pytest.approx(-40, abs=0.5)
    assert np.array_equal(softer[BELL:], plain)

    assert re.search(
        r"\n[5-9] passed, \d+ deselected", stranger.run(promises.strip() + " -q -p no:cacheprovider", ROOT)
    )

    words = states(stranger.run(as_file).partition("plugin ")[2])
    place = str(stranger.folder / "my_plugins" / "more_chime.py")
    assert words["more_chime"] == ("active", "profiles", "post_processors", place)
    assert np.array_equal(stranger.heard("again.wav"), softer)


def test_its_settings_come_from_the_file_and_from_variables(tmp_path: Path) -> None:
    (table,) = re.findall(r"```toml\n(\[plugins\.more_chime\].*?)```", README, flags=re.DOTALL)
    (variable,) = re.findall(r"^(MORE_PLUGINS__MORE_CHIME__\w+=\S+) ", README, flags=re.MULTILINE)
    (tmp_path / "more.toml").write_text(table)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "more_chime.py").write_text(FILES["more_chime/more_chime.py"])
    name, _, value = variable.partition("=")
    for environment, expected in (({}, -20.0), ({name: "-30"}, -30.0)):
        loaded = read(tmp_path / "more.toml", environment | {"MORE_DATA_DIR": str(tmp_path)}).settings
        registry = Registry(loaded, lambda _: distinct(in_folder(tmp_path / "plugins")))
        registry.open(None)
        assert (registry.row("more_chime").settings or {})["volume_db"] == expected
    assert float(value) == tomllib.loads(table)["plugins"]["more_chime"]["volume_db"]


def test_its_code_is_as_tidy_as_ours(tmp_path: Path) -> None:
    """The README's other examples too, but for docstrings, which would hide what they show."""
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(examples) == 6
    for number, text in enumerate(examples):
        (tmp_path / f"example{number}.py").write_text(text)
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    for command in (("check", "--ignore", "D", *config), ("format", "--check", *config)):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
