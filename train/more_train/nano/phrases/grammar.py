"""What a language's phrases look like: sentences with slots, and what may stand in a slot."""

import re
from collections.abc import Iterator, Mapping
from random import Random
from types import MappingProxyType

import msgspec

SLOT = re.compile(r"<(\w+)>")


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """Phrases of one language."""

    language: str
    voice: str
    """espeak-ng's name of it."""
    locale: str
    """Faker's name of it, whose word lists add to these words."""
    letters: str
    """Letters beyond a to z."""
    templates: tuple[str, ...]
    """Sentences; `<slot>` stands for one of that slot's phrases."""
    questions: tuple[str, ...]
    """Sentences that end in a question mark."""
    short: tuple[str, ...]
    """Whole utterances of one to four words."""
    slots: Mapping[str, tuple[str, ...]]
    opening: str = ""
    """Mark before a question."""

    def fill(self, template: str, random: Random) -> str:
        """The template with a phrase in each of its slots."""
        return SLOT.sub(lambda found: random.choice(self.slots[found[1]]), template)

    def words(self) -> Iterator[str]:
        """Every word of the phrases."""
        for text in (*self.templates, *self.questions, *self.short, *(t for each in self.slots.values() for t in each)):
            yield from re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", SLOT.sub(" ", text))


def phrases(text: str) -> tuple[str, ...]:
    """One phrase a line, or several divided by bars."""
    return tuple(part.strip() for line in text.splitlines() for part in line.split("|") if part.strip())


def slots(**texts: str) -> Mapping[str, tuple[str, ...]]:
    """Phrases by the name of their slot."""
    return MappingProxyType({name: phrases(text) for name, text in texts.items()})
