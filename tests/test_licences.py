"""The list behind the licence: every dependency is in it, nothing else is, and it says what the packages say."""

import re
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
RUNTIME, BEHIND, DEVELOPMENT, MODELS = range(4)

FAMILIES = r"0BSD|AGPL|LGPL|GPL|MPL|EUPL|Apache|BSD|MIT|ISC|PSF|Python Software Foundation|Zlib|CC0|BSL|CNRI"
COPYLEFT = {"AGPL", "LGPL", "GPL", "MPL", "EUPL"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def tables() -> list[dict[str, str]]:
    """The four tables at the end of LICENSE: first column → second."""
    tail = (ROOT / "LICENSE").read_text("utf-8").partition("=" * 80)[2]
    found: list[dict[str, str]] = []
    for line in tail.splitlines():
        if line.startswith("|---"):
            found.append({})
        elif line.startswith("| ") and not line.endswith(("distributor |", "means |")):
            name, licence, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert name not in found[-1], f"{name} stands twice"
            assert licence, name
            assert meaning, name
            found[-1][name] = licence
    return found


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def stated(name: str) -> str:
    """The licence that an installed package declares; empty where it declares none."""
    told = metadata.metadata(name)
    if told["License-Expression"]:
        return told["License-Expression"]
    classifiers = [text for text in told.get_all("Classifier") or [] if text.startswith("License :: ")]
    # Some put the whole text of the licence into the field; the name is in its first line, if anywhere.
    return " ".join([(told["License"] or "").partition("\n")[0], *(text.split(" :: ")[-1] for text in classifiers)])


def families(text: str) -> set[str]:
    found = set(re.findall(rf"(?<![A-Za-z])(?:{FAMILIES})(?![a-z])", text.replace("Lesser General Public", "LGPL")))
    return {"PSF" if name.startswith("Python") else name for name in found}


def installed(requirements: list[str]) -> Iterator[str]:
    """Every installed package behind the requirements, themselves included."""
    todo = [Requirement(requirement) for requirement in requirements]
    seen = set()
    while todo:
        wanted = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            further = metadata.requires(wanted.name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        yield key[0]
        todo += [need for need in map(Requirement, further) if _applies(need, wanted.extras)]


def _applies(need: Requirement, extras: set[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or {""})


def test_the_licence_is_apache_verbatim():
    licence = (ROOT / "LICENSE").read_text("utf-8").partition("\n" + "=" * 80)[0]
    # The sum of the file as https://www.apache.org/licenses/LICENSE-2.0.txt has it.
    assert sha256(licence.encode()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert project()["license"] == "Apache-2.0"


def test_the_runtime_list_is_the_list_of_dependencies():
    assert set(tables()[RUNTIME]) == names(project()["dependencies"])


def test_the_development_list_holds_what_the_extras_ask_for():
    asked = set().union(*map(names, project()["optional-dependencies"].values()))
    assert set(tables()[DEVELOPMENT]) <= asked, "listed, but no extra asks for it"
    restrictive = {name for name in asked if _is_installed(name) and families(stated(name)) & COPYLEFT}
    assert restrictive <= set(tables()[DEVELOPMENT]), "an extra asks for it, and it is copyleft"


def _is_installed(name: str) -> bool:
    return any(True for _ in metadata.distributions(name=name))


def test_no_copyleft_comes_along_unnamed():
    found = {name for name in installed(project()["dependencies"]) if families(stated(name)) & COPYLEFT}
    assert found <= tables()[RUNTIME].keys() | tables()[BEHIND].keys()


def test_what_is_said_to_come_along_does():
    assert set(tables()[BEHIND]) <= set(installed(project()["dependencies"]))


@pytest.mark.parametrize(("table", "name"), [(t, name) for t in (RUNTIME, BEHIND, DEVELOPMENT) for name in tables()[t]])
def test_licences_are_those_that_the_packages_state(table: int, name: str):
    if not _is_installed(name):
        pytest.skip(f"pip install {name}, to compare its licence")
    listed, declared = tables()[table][name], stated(name)
    if metadata.metadata(name)["License-Expression"]:
        assert listed == declared
    elif families(declared):
        assert families(listed) == families(declared)


def test_models_and_voices_are_listed_with_the_licences_they_state():
    listed = tables()[MODELS]
    nano = msgspec.json.decode((ROOT / "models" / "nano" / "config.json").read_bytes())
    assert listed["models/nano"] == nano["licence"]
    offered = tomllib.loads((ROOT / "models" / "manifest.toml").read_text("utf-8"))["models"]
    assert {name: listed.get(name) for name in offered} == {name: model["licence"] for name, model in offered.items()}
    voices = {name.strip(): licence for names, licence in listed.items() for name in names.split(",")}
    for voice in ("linden", "rowan"):
        described = tomllib.loads((ROOT / "voices" / voice / "voice.toml").read_text("utf-8"))
        assert voices[f"voices/{voice}"] == described["licence"]
