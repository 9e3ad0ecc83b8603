"""Sentences to speak, written by the recipe: phrases with slots, words in a row, documentation of Python itself.

Nothing is downloaded: the phrases are ours, the words are those of the phrases, of Faker's lists (MIT, installed with
litestar) and of the standard library's docstrings. A sentence is held out by its own hash, so no seed, no order and no
second run can bring it into training.
"""

import ast
import importlib
import re
import sysconfig
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from more_server.xtts.tokenizer import SPACE, Tokenizer
from more_train.nano.config import Corpus as Settings
from more_train.nano.phrases import GRAMMARS

# Modules of the standard library that explain most in plain sentences.
DOCUMENTED = (
    "abc asyncio/base_events asyncio/events asyncio/streams bdb bisect calendar cmd code codecs "
    "collections/__init__ configparser contextlib difflib dis doctest email/message email/parser ftplib glob "
    "graphlib gzip heapq http/client http/cookiejar http/server imaplib importlib/abc linecache locale "
    "logging/__init__ logging/handlers mailbox numbers os pathlib pdb platform poplib pydoc queue random sched "
    "secrets selectors shelve shutil smtplib socket socketserver symtable tarfile tempfile textwrap threading "
    "timeit traceback typing unittest/case unittest/mock weakref xml/etree/ElementTree"
)
# Faker's lists: module and attributes. A locale lacks some of them.
LISTS = {
    "lorem": ("word_list",),
    "job": ("jobs",),
    "person": ("first_names", "last_names"),
    "address": ("countries", "cities", "states", "estados", "bairros", "regions"),
    "color": ("all_colors",),
}
WORD = re.compile(r"[^\W\d_]{2,14}")
SHORTEST_CHARACTERS = 2
TINY_WORDS = 4
"""A final full stop is spoken only after so few words: the server takes it from longer segments."""
TRIES = 10_000


def held_out(text: str, one_in: int) -> bool:
    """Whether a sentence is for evaluation and never for training; its marks do not matter."""
    letters = " ".join(WORD.findall(text.lower()))
    return int.from_bytes(blake2b(letters.encode(), digest_size=8).digest()) % one_in == 0


class Corpus:
    """Sentences of one language, spelt as the tokenizer spells them."""

    def __init__(self, language: str, settings: Settings, tokenizer: Tokenizer) -> None:
        self.language, self.settings, self.grammar = language, settings, GRAMMARS[language]
        self._tokenizer = tokenizer

    def sentence(self, random: Random) -> str:
        """A sentence for training; the same state of `random` gives the same one."""
        return self._drawn(random, lambda text: not held_out(text, self.settings.held_out))

    def held_out_sentences(self, count: int, seed: int) -> list[str]:
        """Different sentences that training never sees, of phrases alone and of more than a few words."""
        random, found = Random(f"{seed}/held out/{self.language}"), dict[str, None]()  # noqa: S311 - no secret
        while len(found) < count:
            text = self.spelt(self._ended(self._phrase(random), random))
            if len(text) <= self.settings.max_characters and held_out(text, self.settings.held_out):
                found[text] = None
        return list(found)

    def spelt(self, text: str) -> str:
        """The characters that the model is given, one token each."""
        return self._tokenizer.spelling(text, self.language).removeprefix(f"[{self.language}]").replace(SPACE, " ")

    def _drawn(self, random: Random, wanted: Any) -> str:
        for _ in range(TRIES):
            text = self.spelt(self._any(random))
            if SHORTEST_CHARACTERS <= len(text) <= self.settings.max_characters and wanted(text):
                return text
        raise AssertionError(f"no sentence of at most {self.settings.max_characters} characters in {TRIES} tries")

    def _any(self, random: Random) -> str:
        kind = random.random()
        if kind < self.settings.short:
            return self._ended(self.grammar.fill(random.choice(self.grammar.short), random), random)
        if (kind := kind - self.settings.short) < self.settings.words:
            return self._ended(self._row(random), random)
        if (kind - self.settings.words) < self.settings.documents and self.documents:
            return self._ended(random.choice(self.documents), random)
        text = self._phrase(random)
        if random.random() < self.settings.pairs:
            text = text + random.choice((". ", ". ", ", ")) + self._phrase(random)
        return self._ended(text, random)

    def _phrase(self, random: Random) -> str:
        if random.random() < 0.15:
            question = self.grammar.fill(random.choice(self.grammar.questions), random)
            return f"{self.grammar.opening}{question}?"
        return self.grammar.fill(random.choice(self.grammar.templates), random)

    def _row(self, random: Random) -> str:
        text, length = self._word(random), random.uniform(5, self.settings.max_characters - 15)
        while len(text) < length:
            text += random.choice((" ", " ", " ", " ", " ", " ", ", ")) + self._word(random)
        return text

    def _word(self, random: Random) -> str:
        """Half of the words are chosen for a letter, so that rare letters are met."""
        if random.random() < 0.5:
            return random.choice(self.words)
        letters = sorted(self._by_letter)
        return random.choice(self._by_letter[random.choice(letters)])

    @cached_property
    def _by_letter(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for word in self.words:
            for letter in set(word):
                found.setdefault(letter, []).append(word)
        return found

    def _ended(self, text: str, random: Random) -> str:
        if not text[-1:].isalpha():
            return text
        if len(text.split()) <= TINY_WORDS and random.random() < 0.5:
            return text + "."
        return text + random.choices(("", ".", "!", ","), (65, 15, 12, 8))[0]

    @cached_property
    def words(self) -> list[str]:
        """Every word that is known of the language, sorted."""
        texts = (*self.documents, *_listed(self.grammar.locale))
        found = {word.lower() for text in texts for word in WORD.findall(text)}
        found |= {word.lower() for word in self.grammar.words()}
        return sorted(word for word in found if self._may_be_spelt(word))

    @cached_property
    def documents(self) -> list[str]:
        """Sentences of the standard library's documentation; English alone has them."""
        if self.language != "en":
            return []
        texts = {sentence for docstring in _docstrings() for sentence in _sentences(docstring)}
        plain = (text.rstrip(".") for text in sorted(texts))
        return [text for text in plain if 12 <= len(text) <= self.settings.max_characters and self._is_prose(text)]

    def _may_be_spelt(self, text: str) -> bool:
        return set(text.lower()) <= set("abcdefghijklmnopqrstuvwxyz" + self.grammar.letters)

    def _is_prose(self, text: str) -> bool:
        words = text.replace(",", "").split()
        return len(words) > 2 and all(self._may_be_spelt(word.replace("'", "").replace("-", "")) for word in words)


def _listed(locale: str) -> Iterator[str]:
    """Texts of Faker's lists."""
    for module, attributes in LISTS.items():
        try:
            provider = importlib.import_module(f"faker.providers.{module}.{locale}").Provider
        except ModuleNotFoundError:
            continue
        for attribute in attributes:
            for entry in getattr(provider, attribute, ()):
                yield from (text for text in (entry if isinstance(entry, tuple) else (entry,)) if isinstance(text, str))


def _docstrings() -> Iterator[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    for name in DOCUMENTED.split():
        tree = ast.parse((folder / f"{name}.py").read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def _sentences(docstring: str) -> Iterator[str]:
    """Plain sentences: no code, no names with underscores, no digits."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            if re.fullmatch(r"[A-Z][a-z]*(?:,? [a-z][a-z'-]*)*\.?", sentence):
                yield sentence
