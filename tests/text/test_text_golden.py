"""Readable examples per language in tests/golden/text: `> ` what is written, `= ` what is said, `| ` its segments.

Segments are listed only where they differ from the line above. Add a `> ` line, run this file as a program
(`python -m tests.text.test_text_golden`), and read what it filled in: it must be right, not merely what came out.
"""

from pathlib import Path

import pytest

from more_server.text import LANGUAGES, normalise
from tests.text.pieces import split

GOLDEN = Path(__file__).parent.parent / "golden" / "text"


def characters_in_pairs(text: str) -> int:
    """Stands in for a tokenizer: about what XTTS's makes of Latin letters."""
    return (len(text) + 1) // 2


def filled_in(golden: str, language: str) -> str:
    lines = []
    for line in golden.splitlines():
        if line[:1] in ("=", "|"):
            continue
        lines.append(line)
        if line.startswith("> "):
            said = normalise(line[2:].replace(r"\n", "\n"), language)
            segments = split(said, language, count_tokens=characters_in_pairs, max_tokens=100, first_max_tokens=40)
            lines.append(f"= {said}")
            lines += [f"| {segment}" for segment in segments] if segments != [said] else []
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_said_as_the_golden_file_says(language: str) -> None:
    golden = (GOLDEN / f"{language}.txt").read_text("utf-8")
    assert filled_in(golden, language) == golden


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_is_said_again(language: str) -> None:
    said = [line[2:] for line in (GOLDEN / f"{language}.txt").read_text("utf-8").splitlines() if line.startswith("= ")]
    assert [normalise(text, language) for text in said] == said


if __name__ == "__main__":
    for code in LANGUAGES:
        path = GOLDEN / f"{code}.txt"
        path.write_text(filled_in(path.read_text("utf-8"), code), "utf-8")
