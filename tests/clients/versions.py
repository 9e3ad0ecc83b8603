"""Which clients are tested, in which version, and what a person types into each: the one place that says so."""

from importlib import metadata
from pathlib import Path

import msgspec

BASE_URL = "http://127.0.0.1:8000/v1"


class Client(msgspec.Struct, frozen=True):
    """A row of the README's table."""

    name: str
    version: str
    settings: tuple[str, str]
    """What to type for the address and for the key, in Markdown."""
    test: str
    """The file beside this one that tests it."""


class _Package(msgspec.Struct):
    version: str = ""


class _PackageLock(msgspec.Struct):
    packages: dict[str, _Package]


def locked(folder: str, package: str) -> str:
    """The version of an npm package that the lock file of a folder beside this one names."""
    content = (Path(__file__).parent / folder / "package-lock.json").read_bytes()
    return msgspec.json.decode(content, type=_PackageLock).packages[f"node_modules/{package}"].version


def required(file: str, package: str) -> str:
    """The version of a Python package that a file of requirements beside this one pins."""
    lines = (Path(__file__).parent / file).read_text("utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{package}==")).partition("==")[2]


CLIENTS = (
    Client(
        name="OpenAI for Python",
        version=metadata.version("openai"),
        settings=(f'`base_url="{BASE_URL}"` or `OPENAI_BASE_URL`', '`api_key="unused"` or `OPENAI_API_KEY`'),
        test="test_openai_python.py",
    ),
    Client(
        name="OpenAI for Node",
        version=locked("openai_node", "openai"),
        settings=(f"`baseURL: '{BASE_URL}'` or `OPENAI_BASE_URL`", "`apiKey: 'unused'` or `OPENAI_API_KEY`"),
        test="test_openai_node.py",
    ),
    Client(
        name="curl",
        version="the system's",
        settings=(f"`{BASE_URL}/audio/speech`", "none, or `-H 'Authorization: Bearer more_…'`"),
        test="test_curl.py",
    ),
    Client(
        name="Home Assistant, *Wyoming Protocol*",
        version="2025.8.3, its events",
        settings=("Host `127.0.0.1`, port `10200`", "none: the protocol has no keys"),
        test="test_home_assistant.py",
    ),
    Client(
        name="Home Assistant, *OpenAI TTS* (sfortis/openai_tts)",
        version="3.10, its requests",
        settings=(f"URL `{BASE_URL}/audio/speech`", "API key empty"),
        test="test_openai_tts.py",
    ),
    Client(
        name="wyoming_openai",
        version=required("bridge.txt", "wyoming-openai"),
        settings=(f"`--tts-openai-url {BASE_URL} --tts-streaming-models tts-1`", "none, or `--tts-openai-key`"),
        test="test_wyoming_openai.py",
    ),
    Client(
        name="Open WebUI",
        version="39861074, its requests",
        settings=(f"Engine OpenAI, API Base URL `{BASE_URL}`", "API Key `unused`"),
        test="test_open_webui.py",
    ),
    Client(
        name="LibreChat",
        version="00b3bc32, its requests",
        settings=(
            f"`speech.tts.openai.url: '{BASE_URL}/audio/speech'`, and its host in `speech.tts.allowedAddresses`",
            "`apiKey: 'unused'`",
        ),
        test="test_librechat.py",
    ),
    Client(
        name="SillyTavern, *OpenAI Compatible*, *TTS WebUI* and *XTTSv2*",
        version="11386ca6, its requests",
        settings=(
            f"Provider Endpoint `{BASE_URL}/audio/speech`; `{BASE_URL}` with the model `tts-1`; "
            "`http://127.0.0.1:8000` with the plugin [more_xtts_api](plugins/README.md#more_xtts_api); for the last "
            "two `server.cors_origins` names where its page comes from",
            "none",
        ),
        test="test_sillytavern.py",
    ),
)
"""A key is asked for only by a server that has keys; OpenAI's clients do not start without one."""


def about(test: str) -> Client:
    """The client that a file of tests is about."""
    return next(client for client in CLIENTS if client.test == test)
