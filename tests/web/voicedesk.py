"""The voices' administration over the real stores, behind the real gate, with a stand-in for the model."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.testing import TestClient

from more_server.audio.encode import encode_file
from more_server.audit import AuditLog
from more_server.errors import ModelLoading, MoreError, NotAuthenticated
from more_server.keys import KeyRing
from more_server.registry import Registry
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import Voice, VoiceLatents
from more_server.tables import LimitSettings
from more_server.voices import VoiceLibrary
from more_server.web import voices
from more_server.web.access import Access, handle_not_authenticated
from more_server.web.errors import add_request_id, handle_bug, handle_http_error, handle_more_error
from tests.web.guarded import refused

VOICES = "/v1/admin/voices"
LIMITS = LimitSettings(body_bytes=4096, reference_bytes=300_000, voice_references=3)
STUDIO = {"ana": VoiceLatents(np.zeros((2, 2), np.float32), np.zeros(512, np.float32))}


def tone(seconds: float = 1.2, kind: str = "wav") -> bytes:
    at = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((0.3 * np.sin(2 * np.pi * 200 * at)).astype(np.float32), 24_000, kind)


TONE = tone()


class StandIn(Speaker):
    """A speaker of real stores and no model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = Registry(settings)
        self.registry.open(self)
        self.voices = VoiceLibrary(self.registry, settings.plugin_seconds)
        self.fleet = SimpleNamespace(serving=SimpleNamespace(studio=STUDIO))  # type: ignore[assignment]
        self.loading = False
        self.prepared: list[str] = []
        self.hold = threading.Event()
        self.failure: Exception | None = None

    @property
    def engine(self) -> Any:
        if self.loading:
            raise ModelLoading("the model is still loading")
        return SimpleNamespace(config=SimpleNamespace(languages=("en", "de")))

    async def prepare(self, voice: Voice) -> None:
        await asyncio.to_thread(self.hold.wait, 10)
        self.prepared.append(voice.id)
        if self.failure:
            raise self.failure


class Admin:
    """The application and what stands behind it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings = Settings(data_dir=folder, limits=LIMITS, **changes)
        self.speaker = StandIn(self.settings)
        self.speaker.hold.set()
        self.audit = AuditLog(self.settings.admin_dir)
        self.keys = KeyRing(self.settings)
        self.http = TestClient(self.app(), base_url="http://127.0.0.1")

    def app(self) -> Litestar:
        return Litestar(
            route_handlers=voices.routes(self.settings.limits),
            middleware=[Access(self.settings, self.keys)],
            dependencies={
                "speaker": Provide(lambda: self.speaker, sync_to_thread=False),
                "audit": Provide(lambda: self.audit, sync_to_thread=False),
            },
            exception_handlers={
                NotAuthenticated: handle_not_authenticated,
                MoreError: handle_more_error,
                HTTPException: handle_http_error,
                Exception: handle_bug,
            },
            before_send=[add_request_id],
            request_max_body_size=self.settings.limits.body_bytes,
            openapi_config=None,
            logging_config=None,
        )

    def upload(self, name: str = "ann", *samples: bytes, **fields: Any) -> httpx.Response:
        files = [("audio_sample", ("clip.wav", sample, "audio/wav")) for sample in samples or (TONE,)]
        return self.http.post(VOICES, data={"name": name} | fields, files=files)

    def get(self, path: str = "") -> Any:
        answer = self.http.get(f"{VOICES}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self) -> list[str]:
        return [voice["id"] for voice in self.get()["data"]]

    def actions(self) -> list[tuple[str, str, str]]:
        return [(entry.action, entry.target, entry.outcome) for entry in self.audit.tail(100)]


def wrong(answer: httpx.Response, param: str | None, status: int = 400, code: str = "invalid_value") -> str:
    message = refused(answer, status, code)
    assert answer.json()["error"]["param"] == param, message
    return message
