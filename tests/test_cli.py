"""The command line as a person meets it: real processes, real files."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import structlog

from more_server.cli import main
from more_server.testing import tiny_xtts
from tests.web.audio import decoded


@pytest.fixture
def more(tmp_path: Path) -> "More":
    return More(tmp_path)


class More:
    """Runs `more-server` with a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MORE_")}
        return kept | {"MORE_DATA_DIR": str(self.data_dir)} | variables

    def inside(self, *arguments: str) -> tuple[int, str, str]:
        """The same within this process, which has loaded what takes seconds: status, output, errors."""
        output, errors, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
            patch.chdir(self.data_dir)
            patch.setenv("MORE_DATA_DIR", str(self.data_dir))
            patch.setenv("MORE_ENGINE__THREADS", "1")
            try:
                main(arguments)
            except SystemExit as end:
                status = int(end.code or 0)
            finally:
                structlog.reset_defaults()
        return status, output.getvalue(), errors.getvalue()

    def __call__(self, *arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "more_server.cli", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.data_dir,
            env=self.environment(**variables),
        )


def test_help_of_everything(more: More) -> None:
    top = more("--help").stdout
    commands = re.findall(r"│ (\w+) +\w", top)
    speaking, keeping = ["say", "serve", "train", "voices"], ["jobs", "keys", "models", "plugins"]
    assert commands == ["bench", "check", "cluster", *keeping, *speaking]
    for command in [*commands, ("models", "pull"), ("models", "import"), ("voices", "add"), ("cluster", "deploy")]:
        words = (command,) if isinstance(command, str) else command
        done = more(*words, "--help")
        assert done.returncode == 0
        assert f"Usage: more-server {' '.join(words)}" in done.stdout
    assert more("--version").stdout.strip() == "0.1.0"


def test_say_hello_from_a_fresh_machine(more: More) -> None:
    done = more("say", "Hello from a fresh machine.", "-o", "hello.mp3")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"hello\.mp3: \d\.\d s of speech by Linden in \d+\.\d s \(seed \d+\)\n", done.stdout)
    samples, rate = decoded((more.data_dir / "hello.mp3").read_bytes(), "mp3")
    assert 1 < len(samples) / rate < 4
    assert abs(samples).max() > 0.05


@pytest.mark.parametrize("name", ["opus", "pcm"])  # the encoders have tests of their own
def test_say_in_other_formats(more: More, name: str) -> None:
    asked = ("--voice", "rowan", "--quality", "fast", "--speed", "1.1", "--seed", "3")
    done = more("say", "-", "-o", f"out.{name}", *asked, text="The door is open.")
    assert done.returncode == 0, done.stderr
    assert len(decoded((more.data_dir / f"out.{name}").read_bytes(), name)[0]) > 12_000
    assert "by Rowan" in done.stdout
    assert "seed 3" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("say", "Hi", "-o", "out.wma"), "aac, flac, mp3, opus, pcm, wav"),
        (("say", "Hi", "-o", "missing/out.mp3"), "missing is not a folder"),
        (("say", "Hi", "--voice", "nobody"), "linden, rowan"),
        (("say", "Hi", "--quality", "best"), "balanced, fast, high_quality"),
        (("say", "Hi", "--language", "de"), "it speaks: en"),
        (("say", ""), "input is empty"),
        (("say", "Hi", "--speed", "9"), "between 0.25 and 4"),
        (("voices", "remove", "nobody"), "there is no voice 'nobody'"),
        (("voices", "remove", "linden"), "it stays"),
        (("voices", "add", "ann", "missing.wav"), "missing.wav cannot be read"),
        (("voices", "add", "../ann", "more.toml"), "lower-case letters"),
        (("models", "use", "eleven"), "nano"),
        (("models", "remove", "nano"), "stays"),
        (("models", "import", "missing"), "is not a folder"),
        (("models", "pull", "eleven"), "xtts-v2"),
        (("models", "pull", "xtts-v2"), "--accept-license"),
    ],
)
def test_mistakes_are_one_paragraph(more: More, arguments: tuple[str, ...], says: str) -> None:
    status, output, errors = more.inside(*arguments)
    assert status == 1
    assert says in errors
    assert errors.startswith("more-server: ")
    assert "Traceback" not in errors + output
    left = {path.name for path in more.data_dir.iterdir()}
    assert not left & {"speech.mp3", "out.wma", "voices"}


def test_wrong_settings_stop_every_command(more: More) -> None:
    done = more("serve", MORE_SERVER__PRT="1")
    assert done.returncode == 1
    assert done.stderr == (
        "more-server: unknown environment variable MORE_SERVER__PRT; did you mean MORE_SERVER__PORT?\n"
    )
    for name, value, says in (
        ("MORE_DEFAULT_QUALITY", "best", "default_quality"),
        ("MORE_DEFAULT_LANGUAGE", "tlh", "default_language"),
        ("MORE_MODEL", "eleven", "eleven"),
    ):
        done = more("serve", "--port", "0", **{name: value})
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_voices_come_and_go(more: More) -> None:
    clip = Path("voices/rowan/reference.wav").resolve()
    added = more("voices", "add", "ann", str(clip), "--language", "English", "--consent", "she said yes")
    assert added.returncode == 0, added.stderr
    assert "ann" in more("voices", "list").stdout
    assert 'consent = "she said yes"' in (more.data_dir / "voices" / "ann" / "voice.toml").read_text()
    assert more("say", "Hello there, it is me.", "--voice", "ann", "-o", "a.wav").returncode == 0
    assert more("voices", "remove", "ann").stdout == "ann is gone\n"
    assert "ann" not in more("voices", "list").stdout


def test_models_come_and_go(more: More, tmp_path: Path) -> None:
    tiny_xtts(tmp_path / "elsewhere" / "small")
    done = more("models", "import", str(tmp_path / "elsewhere" / "small"))
    assert done.returncode == 0, done.stderr
    assert "more-server models use small" in done.stdout
    assert more("models", "use", "small").returncode == 0
    listed = more("models", "list").stdout
    assert re.search(r"→ +small .*random weights: it makes noise, not speech", listed)
    checked = more("check")
    assert checked.returncode == 0
    assert "random weights" in checked.stdout
    assert "random weights" in more("say", "Hi there everyone.", "-o", "noise.wav").stderr
    assert more("models", "use", "nano").returncode == 0
    assert more("models", "remove", "small").stdout == "small is gone\n"


def test_check_names_what_is_wrong_and_the_cure(more: More) -> None:
    (more.data_dir / "voices" / "odd").mkdir(parents=True)
    done = more("check")
    assert done.returncode == 1
    assert "✗ voices" in done.stdout
    assert "→ mend or delete that folder" in done.stdout
    assert "nano (en), Apache-2.0" in done.stdout


def test_a_broken_model_stops_the_start(more: More, tmp_path: Path) -> None:
    folder = tiny_xtts(tmp_path / "models" / "broken")
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    done = more("serve", "--port", "0", MORE_MODEL="broken")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("more-server: model broken: ")
    assert "model.safetensors" in last


def test_a_taken_port(more: More) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = more("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "--port" in done.stderr


def test_serve_says_when_it_is_ready_and_ends_when_told(more: More) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "more_server.cli", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=more.environment(MORE_LOG_FORMAT="json"),
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"MORE is ready: (http://127\.0\.0\.1:\d+)/$", line)
            assert address is not None, line
            body = json.dumps({"input": "Goodbye, and thank you.", "response_format": "wav"}).encode()
            with urllib.request.urlopen(f"{address.group(1)}/v1/audio/speech", body, timeout=60) as answer:
                assert len(answer.read()) > 10_000
            time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
    assert process.returncode in {0, -signal.SIGTERM}
    lines = [json.loads(line) for line in errors.splitlines()]
    spoken = next(line for line in lines if line["event"] == "speech")
    assert spoken["outcome"] == "ok"
    assert spoken["voice_id"] == "linden"
    assert spoken["text_length"] == 23
    assert "Goodbye" not in errors
