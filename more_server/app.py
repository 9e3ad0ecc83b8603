"""create_app(settings): wiring only."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
import uvicorn
from litestar import Litestar, Request, Response, Router
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send

from more_server.administration import Administration
from more_server.audit import COMMAND_LINE, AuditLog
from more_server.decisions import set_damaged_aside, take_up_decisions
from more_server.engine.engine import LOADING_RETRY_SECONDS
from more_server.errors import ModelLoading, MoreError, NotAuthenticated, PluginFailure
from more_server.files import sweep, sweep_all
from more_server.fleet import Fleet
from more_server.graceful import GracefulServer
from more_server.jobs.jobs import Jobs
from more_server.jobs.kinds import Kind
from more_server.jobs.webhooks import Webhooks
from more_server.keys import KeyRing
from more_server.lessons.dataset_kind import DatasetKind
from more_server.lessons.train_kind import TrainKind
from more_server.lessons.uploads import keep_swept
from more_server.logs import RecentLines
from more_server.models import fetch_chosen
from more_server.narration.kind import SpeechKind
from more_server.registry import Registry, Snapshot
from more_server.services import Services
from more_server.settings import Loaded, Settings
from more_server.siblings import Siblings
from more_server.speak import Speaker
from more_server.voicebank.consents_table import move_consents
from more_server.web import (
    config,
    consents,
    custom_voices,
    datasets,
    health,
    jobs,
    keys,
    lines,
    listings,
    metrics,
    models,
    narration,
    openapi,
    plugins,
    profiles,
    resumable,
    speech,
    stream,
    voices,
)
from more_server.web.access import Access, handle_not_authenticated
from more_server.web.bounds import NEVER, Bodies, Doors
from more_server.web.errors import add_request_id, handle_bug, handle_http_error, handle_more_error
from more_server.web.headers import add_security_headers
from more_server.web.ranges import HEAD

HANDLERS = (
    speech.speech,
    stream.speech_stream,
    listings.list_models,
    listings.get_model,
    *custom_voices.HANDLERS,
    *consents.HANDLERS,
    *narration.HANDLERS,
    *jobs.HANDLERS,
    health.live,
    health.ready,
    health.detail,
    metrics.metrics,
    *openapi.HANDLERS,
    plugins.list_plugins,
    plugins.get_plugin,
    plugins.enable_plugin,
    plugins.disable_plugin,
    plugins.change_plugin,
    plugins.reload,
    profiles.list_profiles,
    profiles.create_profile,
    profiles.change_profile,
    profiles.delete_profile,
    models.list_all,
    models.load,
    models.switch,
    models.unload,
    *resumable.HANDLERS,
    *datasets.HANDLERS,
    *voices.HANDLERS,
    config.read_config,
    keys.read_own_key,
    keys.list_keys,
    keys.create_key,
    keys.delete_key,
    keys.read_audit,
    lines.read_log,
)
"""Every route of the server itself; plugins add theirs."""
TAKING_MORE = (voices, custom_voices, consents, jobs, narration, resumable)
"""Their routes() put what may be sent more than the others into routers of its own."""
EXPOSED_HEADERS = (
    *("x-request-id", "x-seed", "x-guards", "retry-after", "retry-after-ms"),
    *("content-range", "accept-ranges", "etag"),
    *resumable.EXPOSED,
)
"""What a page may read of an answer, beside what any page may."""
log = structlog.get_logger("more_server.app")
KindsOfJobs = Callable[[Speaker], Sequence[Kind[Any]]]


def create_speaker(settings: Settings) -> Speaker:
    """A speaker whose engine has not been started. Damaged files of what was decided while it ran are set aside.

    Where a database is shared, what is in it is here then, the model that serves included. Raises ModelError,
    ModelNotFound, SettingsError and StorageError.
    """
    if settings.database:
        take_up_decisions(settings)
        move_consents(settings)
    else:
        set_damaged_aside(settings)
    fetch_chosen(settings)
    registry = Registry(settings)
    speaker = Speaker(settings, Fleet(settings), registry)
    registry.open(speaker)
    speaker.check_defaults(settings)
    return speaker


def kinds_of_jobs(speaker: Speaker) -> Sequence[Kind[Any]]:
    """What `POST /v1/jobs` can be asked for."""
    return (SpeechKind(speaker), DatasetKind(speaker.settings), TrainKind(speaker))


def create_app(
    settings: Settings,
    on_started: Callable[[BaseException | None], None] = lambda error: None,
    reread: Callable[[], Loaded] | None = None,
    kinds: KindsOfJobs = kinds_of_jobs,
    recent_lines: RecentLines | None = None,
    siblings: Siblings | None = None,
) -> "App":
    """The HTTP application. It answers /health at once and speaks when the model is loaded.

    on_started is told None when the server is ready, or what kept it from that. reread gives settings as they are
    now, for a reload, and tells where they come from; without it they stay as they are. recent_lines: those of the
    log, which logs.configure was given, too. siblings: the other workers, where it is one of several.
    """
    speaker = create_speaker(settings)
    reread = reread or (lambda: Loaded(settings, {}))
    return App(speaker, on_started, reread, kinds, recent_lines or RecentLines(), siblings or Siblings())


def web_server(application: "App", settings: Settings) -> uvicorn.Server:
    """What serves an application; its run() takes the sockets that it listens on."""
    doors = Doors(lambda: application.speaker.settings.limits)
    config = uvicorn.Config(
        Bodies(application, doors.limits),
        http=doors.http,
        ws=doors.ws,
        loop="asyncio",  # what is tested; by itself uvicorn takes uvloop where another package has brought it
        timeout_keep_alive=NEVER,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=settings.limits.body_bytes,
        ws_per_message_deflate=False,  # audio does not get smaller by it, only later
    )
    return GracefulServer(config, application, settings.server.shutdown_seconds)


class App:
    """An ASGI application that is rebuilt when the routes of plugins change; requests keep the one they came in by."""

    def __init__(
        self,
        speaker: Speaker,
        on_started: Callable[[BaseException | None], None],
        reread: Callable[[], Loaded],
        kinds: KindsOfJobs,
        recent_lines: RecentLines,
        siblings: Siblings,
    ) -> None:
        settings = speaker.settings
        self.speaker = speaker
        self._on_started = on_started
        self._recent_lines = recent_lines
        self._siblings = siblings
        self._keys = KeyRing(settings)
        self._access = Access(settings, self._keys, lambda: speaker.settings.limits)
        self._audit = AuditLog(settings.admin_dir, settings.database)
        loaded = Loaded(settings, reread().sources)
        self.administration = Administration(speaker, self._audit, self.follow, loaded, reread, siblings)
        self._services = Services(speaker.registry, settings.plugin_seconds, is_first=siblings.is_first)
        self._webhooks = Webhooks(settings.jobs, jobs.job_item)
        self._jobs = Jobs(settings, kinds(speaker), self._webhooks.tell)
        self._routes: Sequence[tuple[str, Any]] = ()
        self._first = self._current = self._built()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._first if str(scope["type"]) == "lifespan" else self._current
        await application(_head_as_get(scope), receive, send)

    async def follow(self, snapshot: Snapshot) -> None:
        """Run the services and answer the routes of a snapshot, within the limits of now."""
        if snapshot.routes != self._routes or self.speaker.settings.limits != self._limits:
            self._current = await asyncio.to_thread(self._built)
        self._services.seconds = self.speaker.settings.plugin_seconds
        await self._services.follow(snapshot)

    async def leave(self) -> None:
        """Take nothing new, and leave jobs to the next start; what is being spoken goes on."""
        self.speaker.draining = True
        log.info("leaving", speaking=self.is_at_work())
        self.speaker.fleet.close()  # a training that ends now would load a paused model again
        await self._jobs.stop()

    def is_at_work(self) -> bool:
        """Somebody is being spoken to, or about to be."""
        return self.speaker.reports.talking > 0 or self.speaker.fleet.is_at_work()

    async def reload(self) -> None:
        """Take up the settings of now; where they do not fit, the log says why and everything stays as it is."""
        try:
            # Who may send this process a signal is who may use its command line.
            await self.administration.reload(COMMAND_LINE)
        except MoreError as error:
            log.warning("settings not reloaded", reason=error.message)

    def _built(self) -> Litestar:
        """The application with every plugin's routes that can be had; what cannot is told on its plugin's row."""
        self._routes, self._limits = self.speaker.registry.snapshot.routes, self.speaker.settings.limits
        by_plugin: dict[str, list[Any]] = {}
        for plugin, handler in self._routes:
            by_plugin.setdefault(plugin, []).append(handler)
        apart = [one for module in TAKING_MORE for one in module.HANDLERS]
        handlers: list[Any] = [one for one in HANDLERS if one not in apart]
        for module in TAKING_MORE:
            handlers += module.routes(self.speaker.settings.limits)
        for plugin, theirs in by_plugin.items():
            try:
                self._litestar([*handlers, _router(plugin, theirs, self.speaker.registry)])
            except Exception as error:  # noqa: BLE001 - a stranger's handlers, or a path that is taken
                self.speaker.registry.report(plugin, f"its routes: {type(error).__name__}: {error}", error)
            else:
                handlers.append(_router(plugin, theirs, self.speaker.registry))
        return self._litestar(handlers)

    def _litestar(self, handlers: Sequence[Any]) -> Litestar:
        settings = self.speaker.settings
        given = {
            "speaker": self.speaker,
            "administration": self.administration,
            "siblings": self._siblings,
            "keys": self._keys,
            "audit": self._audit,
            "recent_lines": self._recent_lines,
            "job_counts": self._jobs.counts,
            "webhooks": self._webhooks,
        }
        return Litestar(
            route_handlers=handlers,
            dependencies={
                "jobs": Provide(self._open_jobs, sync_to_thread=False),
                **{name: Provide(_always(one), sync_to_thread=False) for name, one in given.items()},
            },
            middleware=[self._access],
            lifespan=[self._lifespan],
            exception_handlers={
                MoreError: handle_more_error,
                NotAuthenticated: handle_not_authenticated,
                HTTPException: handle_http_error,
                Exception: handle_bug,
            },
            before_send=[add_request_id, add_security_headers, metrics.counting(self.speaker.reports.measures)],
            cors_config=_cors(settings.server.cors_origins),
            request_max_body_size=settings.limits.body_bytes,
            openapi_config=None,
            logging_config=None,
        )

    def _open_jobs(self) -> Jobs:
        """Not before their start: a job would begin without a model. Raises ModelLoading."""
        self.speaker.check_staying()
        if not self._jobs.started:
            raise ModelLoading("jobs are taken once the model is loaded", retry_after=LOADING_RETRY_SECONDS)
        return self._jobs

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        self.speaker.engine.start()
        starting = asyncio.ensure_future(self._start())
        sweeping = asyncio.ensure_future(keep_swept(lambda: self.speaker.settings))
        renewing = asyncio.ensure_future(self.administration.renew_copies())
        self._beside = {starting, sweeping, renewing}
        try:
            yield
        finally:
            for task in self._beside:
                task.cancel()
            await asyncio.wait(self._beside)  # what the start has begun is stopped next
            await self.administration.close()
            await self._services.stop()
            self.speaker.fleet.close()  # a training that ends now would load a paused model again
            await self._jobs.stop()
            await self.speaker.fleet.stop()
            await asyncio.to_thread(self._access.flush)
            await asyncio.to_thread(self.speaker.reports.close)

    async def _start(self) -> None:
        try:
            await asyncio.to_thread(_sweep, self.speaker.settings)
            await self.speaker.start()
            await self._services.follow(self.speaker.registry.snapshot)
            if not self.speaker.draining:
                await self._jobs.start()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever runs the server
            self._on_started(error)
        else:
            self._on_started(None)
            self._beside.add(asyncio.ensure_future(self.administration.follow_others()))
            if self.speaker.settings.prepare_voices:
                await self.speaker.prepare_all()


def _sweep(settings: Settings) -> None:
    """Remove what killed servers and commands left half written; jobs and uploads see to theirs."""
    sweep_all(settings.admin_dir, deep=True)
    sweep_all(settings.data_dir / "voices", deep=True)
    sweep_all(settings.model_dirs[0])
    if settings.made_models_dir != settings.model_dirs[0]:
        sweep_all(settings.made_models_dir)
    sweep_all(settings.datasets_dir)
    # What is worked out once is written without a lock; who is writing it this moment works it out once more.
    sweep(settings.data_dir / "cache" / "latents" / "*")


def _cors(origins: Sequence[str]) -> CORSConfig | None:
    return CORSConfig(allow_origins=list(origins), expose_headers=list(EXPOSED_HEADERS)) if origins else None


def _head_as_get(scope: Any) -> Any:
    """HEAD is GET, of whose answer uvicorn leaves out the body; Litestar wants HEAD said of each route."""
    if scope.get("method") != "HEAD":
        return scope
    return {**scope, "method": "GET", "state": {**scope.get("state", {}), HEAD: True}}


def _always(one: Any) -> Callable[[], Any]:
    return lambda: one


def _router(plugin: str, handlers: Sequence[Any], registry: Registry) -> Router:
    """A plugin's routes; what its code raises is answered with its name, and told on its row."""

    def failed(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        # Off the event loop: the registry may be waiting for another plugin at the moment.
        reason = f"{request.url.path}: {type(error).__name__}: {error}"
        asyncio.get_running_loop().run_in_executor(None, registry.report, plugin, reason, error)
        return handle_more_error(request, PluginFailure(plugin, f"{type(error).__name__}: {error}"))

    theirs: dict[int | type[Exception], Any] = {
        MoreError: handle_more_error,
        HTTPException: handle_http_error,
        Exception: failed,
    }
    # Copies: Litestar wraps a handler that runs in threads once more each time that it is taken into an application.
    return Router(
        path="/",
        route_handlers=[copy.deepcopy(one) for one in handlers],
        exception_handlers=theirs,
        opt={"plugin": plugin},
    )
