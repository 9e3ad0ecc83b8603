"""`more-server plugins`: real processes, real files, and the words that a person reads."""

import json
import re
from pathlib import Path

import pytest

from more_server.cli.plugins import as_toml, described
from tests.test_cli import More

MINE = '''
"""Mine."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from more_server import Profile, hookimpl


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    warmth: Annotated[float, Meta(gt=0, le=2)] = 0.5
    """How lively it is;
    more is livelier."""
    mode: Literal["soft", "hard"] = "soft"
    code: str = ""
    token: Annotated[str, Meta(extra={"secret": True})] = "hush"
    names: tuple[str, ...] = ("a", "b")
    table: dict[str, int] = {}
    place: Path | None = None
    count: int | str = 1


@hookimpl
def profiles(context):
    return [Profile(name="mine", temperature=context.settings.warmth, top_p=0.9)]
'''


@pytest.fixture
def more(tmp_path: Path) -> More:
    return More(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> More:
    """With a folder of plugins that holds one."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(MINE)
    (tmp_path / "more.toml").write_text("plugin_dir = 'own'\n")
    return More(tmp_path)


def told(more: More, *arguments: str, **variables: str) -> str:
    """Standard output of a command that ends well and has nothing to complain about."""
    done = more("plugins", *arguments, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(more: More, *arguments: str, **variables: str) -> str:
    """The one paragraph of a command that does not."""
    done = more("plugins", *arguments, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("more-server: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def log(more: More) -> list[tuple[str, str, dict[str, object], str]]:
    lines = [json.loads(line) for line in (more.data_dir / "admin" / "audit.jsonl").read_text().splitlines()]
    assert {line["actor"]["kind"] for line in lines} == {"command line"}
    return [(line["action"], line["target"], line["changes"], line["outcome"]) for line in lines]


def test_the_list(mine: More) -> None:
    listed = told(mine, "list")
    assert re.search(r"^plugin +state +version +offers +from", listed)
    assert re.search(r"^more_loudness +active +0\.1\.0 +post_processors +more-server 0\.1\.0 *$", listed, re.MULTILINE)
    assert re.search(r"^more_voice_object_store +disabled +0\.1\.0 +voice_stores services ", listed, re.MULTILINE)
    assert re.search(rf"^mine +active +profiles +{mine.data_dir}/own/mine\.py *$", listed, re.MULTILINE)


def test_a_plugin_that_fails_is_told_and_the_others_are_there(mine: More) -> None:
    (mine.data_dir / "own" / "sad.py").write_text("import nothing_like_it\n")
    done = mine("plugins", "list")
    assert done.returncode == 0
    assert re.search(r"^sad +failed ", done.stdout, re.MULTILINE)
    reason = "✗ sad: importing it: ModuleNotFoundError: No module named 'nothing_like_it'\n"
    assert done.stdout.endswith(reason)
    assert "sad.py" in done.stderr  # the traceback, for whoever wrote it
    shown = mine("plugins", "show", "sad").stdout
    assert shown == f"sad: failed, from {mine.data_dir}/own/sad.py\n{reason}"
    assert "the plugin sad failed: importing it" in mine("plugins", "enable", "sad").stderr


def test_what_is_shown_of_a_plugin(mine: More) -> None:
    assert told(mine, "show", "mine") == (
        f"mine: active, from {mine.data_dir}/own/mine.py; it offers profiles\n"
        "\nwarmth = 0.5\n    a number > 0 ≤ 2\n    How lively it is; more is livelier.\n"
        '\nmode = "soft"\n    "hard" or "soft"\n'
        '\ncode = ""\n    text\n'
        '\ntoken = "********"\n    text\n'
        '\nnames = ["a", "b"]\n    a list of text\n'
        "\ntable = {}\n    a table\n"
        "\nplace = nothing\n    text or nothing\n"
        "\ncount = 1\n    a whole number or text\n"
    )
    (mine.data_dir / "own" / "bare.py").write_text("")
    assert told(mine, "show", "bare").endswith("own/bare.py\nIt has no settings.\n")


def test_off_and_on_again(mine: More) -> None:
    assert "mine is disabled. A server that runs takes it up within seconds" in told(mine, "disable", "mine")
    assert re.search(r"^mine +disabled ", told(mine, "list"), re.MULTILINE)
    assert "there is no quality 'mine'" in mine("say", "Hi", "--quality", "mine").stderr
    assert "mine is enabled. " in told(mine, "enable", "mine")
    assert re.search(r"^mine +active ", told(mine, "list"), re.MULTILINE)
    assert [line[:2] for line in log(mine)] == [("plugins.disable", "mine"), ("plugins.enable", "mine")]


def test_settings_are_set_and_taken_back(mine: More) -> None:
    asked = ("warmth=1", "code=0123", "mode=hard", 'names=["x"]', "table={a = 1}", "place=/tmp/x", "token=a=b c")
    said = told(mine, "set", "mine", *asked)
    assert said.startswith(
        'mine has warmth = 1.0, code = "0123", mode = "hard", names = ["x"], table = {"a" = 1}, place = "/tmp/x", '
        'token = "********". A server that runs'
    )
    shown = told(mine, "show", "mine")
    assert "warmth = 1.0\n    a number > 0 ≤ 2, changed with `plugins set` or over HTTP\n" in shown
    kept = json.loads((mine.data_dir / "admin" / "plugins.json").read_text())["mine"]["settings"]
    assert (kept["token"], kept["code"]) == ("a=b c", "0123")
    assert log(mine)[0][2]["token"] == "********"

    # As it is shown it can be set again, and it changes nothing.
    pairs = [line.replace(" = ", "=", 1) for line in shown.splitlines() if re.match(r"\w+ = ", line)]
    told(mine, "set", "mine", *[pair for pair in pairs if pair not in ("place=nothing",)])
    assert [line for line in told(mine, "show", "mine").splitlines() if " = " in line] == [
        line for line in shown.splitlines() if " = " in line
    ]

    assert "mine has warmth = 0.5." in told(mine, "set", "mine", "warmth=")
    assert "mine has warmth = 0.25." in told(mine, "set", "mine", "warmth=", MORE_PLUGINS__MINE__WARMTH="0.25")


@pytest.mark.parametrize("value", ["0123", "true", "1e3", "2024-05-03", '"quoted"', "a # b", "1\nx = 2", "nöthing"])
def test_text_is_taken_as_it_stands(mine: More, value: str) -> None:
    told(mine, "set", "mine", f"code={value}")
    kept = json.loads((mine.data_dir / "admin" / "plugins.json").read_text())["mine"]["settings"]["code"]
    assert kept == value.strip('"')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "mien"), "there is no plugin 'mien'; there are: mine, more_filters"),
        (("enable", "mien"), "there is no plugin 'mien'"),
        (("disable", "mien"), "there is no plugin 'mien'"),
        (("set", "mien", "a=1"), "there is no plugin 'mien'"),
        (("set", "mine"), "say what to change, as setting=value; `more-server plugins show mine` shows"),
        (("set", "mine", "warmth"), "'warmth' is no setting=value"),
        (("set", "mine", "=3"), "'=3' is no setting=value"),
        (("set", "mine", "warmth=3"), "plugin mine, settings.warmth: expected `float` <= 2.0"),
        (("set", "mine", "warmth=much"), "settings.warmth: expected `float`"),
        (
            ("set", "mine", "warmht=1"),
            "settings.warmht: object contains unknown field `warmht`; there are: warmth",
        ),
        (("set", "mine", "mode=loud"), "settings.mode: invalid enum value 'loud'"),
    ],
)
def test_mistakes_are_one_paragraph_and_change_nothing(mine: More, arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(mine, *arguments)
    assert not (mine.data_dir / "admin" / "plugins.json").exists()


def test_what_keeps_the_server_from_its_start_is_kept_out_by_a_setting(mine: More) -> None:
    (mine.data_dir / "own" / "typo.py").write_text("from more_server import hookimpl\n@hookimpl\ndef profils(): ...\n")
    assert "profils" in refused(mine, "list")
    listed = told(mine, "list", MORE_PLUGINS__TYPO__ENABLED="false")
    assert re.search(r"^typo +disabled ", listed, re.MULTILINE)


def test_toml_of_values() -> None:
    values = {"a": [1, 2.5, True, 'say "ä"\n'], "b": {"c d": None}, "e": []}
    assert as_toml(values) == '{"a" = [1, 2.5, true, "say \\"ä\\"\\n"], "b" = {"c d" = nothing}, "e" = []}'


def test_settings_that_nobody_described() -> None:
    (field,) = described({"properties": {"odd": {}}})
    assert (field.name, field.allowed, field.line) == ("odd", "anything", "")
    assert described(None) == []
