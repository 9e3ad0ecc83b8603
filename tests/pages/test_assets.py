"""The files of the page, read as texts: what they ask for, what they say, and how long they are."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import more_web_ui.pages as pages

STATIC = Path(pages.__file__).with_name("static")
SCRIPTS = sorted(STATIC.glob("*.js"))
LANGUAGES = ("en", "pt")
KEY = re.compile(r"""["'`]([a-z][A-Za-z]*(?:\.[A-Za-z0-9_]+)+)["'`]""")
"""A whole string that may be the key of a text."""
BEGINNING = re.compile(r"`([a-z][A-Za-z]*(?:\.[A-Za-z0-9_]+)*\.)\$\{")
"""The part of a key that stands before one that is put in."""
PLACE = re.compile(r"\{(\w+)\}")


def leaves(texts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Keys and their texts; the forms of a plural are one."""
    for name, value in texts.items():
        if isinstance(value, str):
            yield prefix + name, [value]
        elif "other" in value and set(value) <= {"zero", "one", "two", "few", "many", "other"}:
            yield prefix + name, list(value.values())
        else:
            yield from leaves(value, f"{prefix}{name}.")


def read(language: str) -> dict[str, list[str]]:
    return dict(leaves(json.loads((STATIC / "texts" / f"{language}.json").read_text("utf-8"))))


def test_both_languages_say_the_same_things() -> None:
    english, portuguese = map(read, LANGUAGES)
    assert english.keys() == portuguese.keys()
    for key, texts in english.items():
        assert all(text.strip() for text in (*texts, *portuguese[key])), key
        wanted, given = ({name for text in said for name in PLACE.findall(text)} for said in (texts, portuguese[key]))
        assert wanted == given, key


def test_every_text_is_there_and_none_is_left_over() -> None:
    texts = read("en")
    source = "\n".join(path.read_text("utf-8") for path in SCRIPTS)
    sections = {key.partition(".")[0] for key in texts}
    meant = {key for key in KEY.findall(source) if key.partition(".")[0] in sections}
    built = set(BEGINNING.findall(source))
    # Names of files and of what is remembered look alike: they end so, or begin with `more`.
    meant = {key for key in meant if not key.endswith((".js", ".css", ".json", ".svg"))}
    assert meant <= texts.keys(), meant - texts.keys()
    left = {key for key in texts.keys() - meant if not any(key.startswith(beginning) for beginning in built)}
    assert not left, left


def test_nothing_is_asked_of_another_host_or_run_inline() -> None:
    for path in [*STATIC.glob("*.*"), *STATIC.glob("texts/*")]:
        text = re.sub(
            r"^\s*(//|\*|/\*).*", "", path.read_text("utf-8"), flags=re.MULTILINE
        )  # comments may name sources
        addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text))
        assert addresses <= {"http://www.w3.org"}, path.name  # the name of SVG, which nobody asks for
        unsafe = re.search(r"\beval\(|new Function\(|\bstyle:\s|innerHTML|document\.write", text)
        assert path.suffix != ".js" or not unsafe, f"{path.name}: {unsafe}"
    html = (STATIC / pages.INDEX).read_text("utf-8")
    assert not re.search(r"<style|<script(?![^>]* src=)| on[a-z]+=| style=", html)


def test_every_file_is_of_a_kind_that_is_served() -> None:
    assets = pages.read_assets()
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert there == set(assets)


def test_the_scripts_pass_the_linter() -> None:
    program, rules = Path(sys.executable).with_name("oxlint"), Path(__file__).with_name("oxlint.json")
    done = subprocess.run([program, "--config", rules, STATIC], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_is_written_once() -> None:
    """Styles stay once they are loaded: those of one panel must not change another."""
    owners: dict[str, str] = {}
    for path in sorted(STATIC.glob("*.css")):
        owner = "the shell" if path.name in ("style.css", "parts.css") else path.name
        text = re.sub(r"/\*.*?\*/|@media[^{]*\{|@keyframes[^}]*\}\s*\}", "", path.read_text("utf-8"), flags=re.DOTALL)
        selectors = {part.strip() for head in re.findall(r"([^{}]+)\{", text) for part in head.split(",")}
        for selector in selectors:
            assert owners.setdefault(selector, owner) == owner, f"{selector} of {owner}"


def test_no_state_at_module_level() -> None:
    for path in SCRIPTS:
        for line in path.read_text("utf-8").splitlines():
            assert not re.match(r"(let|var) ", line), f"{path.name}: {line}"
            assert not re.match(r"(export )?const \w+ = new (Map|WeakMap|WeakSet)\(\)", line), f"{path.name}: {line}"
