"""`python -m more_train`: what it says, and where it leads."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from more_train import __main__, command
from more_train.__main__ import main
from more_train.recipe import FineTune
from more_train.run import open_run
from more_train.trainer import Outcome

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE_DATA_DIR", str(tmp_path / "data"))


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code in (0, None), ended.value.code


def test_help_needs_nothing_heavy():
    script = "import sys, more_train.__main__; print(*(name for name in ('torch', 'TTS', 'av') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]):
    run("--help")
    said = capsys.readouterr().out
    for name in ("dataset", "finetune", "resume", "evaluate", "export", "nano"):
        assert re.search(rf"│ {name} ", said), name


def test_a_training_is_told_and_gone_on_with(
    tiny: Path, buzz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("speak = false\nbatch_size = 5\naverage = 0.5\n")
    out = tmp_path / "run"
    run("finetune", tiny, buzz, out, "--recipe", recipe, "--epochs", 1, "--learning-rate", 1e-3, "--device", "cpu")
    said = capsys.readouterr().err
    assert "10 clips, 0.3 minutes, 2 held out; 1 epochs, 5 clips a step, 2 steps on cpu" in said
    assert "step 0: held-out loss 3.9" in said
    assert "All 2 steps are done." in said
    assert f"python -m more_train export {out} ID" in said
    run("resume", out, "--device", "cpu")
    assert "All 2 steps are done." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-model", "data", "run"], "no-such-model"),
        (["{tiny}", "nowhere", "run"], "nowhere is no dataset"),
        (["{tiny}", "{buzz}", "run", "--batch-size", "0"], "the options: Expected `int` >= 1"),
        (["{tiny}", "{buzz}", "run", "--recipe", "none.toml"], "none.toml cannot be read"),
        (["{tiny}", "{buzz}", "run", "--device", "tpu"], "'tpu' does not work here"),
    ],
)
def test_mistakes_are_one_paragraph(
    tiny: Path, buzz: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
):
    with pytest.raises(SystemExit) as ended:
        main(["finetune", *(argument.format(tiny=tiny, buzz=buzz) for argument in arguments)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("more_train: ")


def test_a_run_of_another_kind_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with open_run(tmp_path / "run", "nano", FineTune(), {}):
        pass
    with pytest.raises(SystemExit):
        main(["resume", str(tmp_path / "run")])
    assert "python -m more_train nano" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("early", "Ended after 7 of 20 steps: it learnt nothing more."),
        ("finished", "All 20 steps are done."),
        ("SIGTERM", "Stopped by SIGTERM after step 7 of 20."),
    ],
)
def test_every_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, told: str):
    outcome = Outcome(end=end, step=7, total_steps=20, best=2.5, best_step=4)
    command._summary(command.console(stderr=True), tmp_path, outcome)
    said = capsys.readouterr().err
    assert told in said
    assert "Least held-out loss: 2.5000, at step 4" in said
    assert ("resume" in said) == (end == "SIGTERM")


def test_every_command_is_there():
    """Each is named by module and function, and loaded when it is asked for."""
    found: dict[str, Any] = {}
    for name in ("dataset", "finetune", "resume", "evaluate", "export", "nano"):
        found[name] = __main__.app[name].default_command
    assert all(isinstance(function, Callable) for function in found.values())
