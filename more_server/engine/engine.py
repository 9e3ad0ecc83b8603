"""The loop, schedule → run → postprocess, on a thread of its own, and its async face."""

import asyncio
import concurrent.futures
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
import torch

from more_server.engine.guards import code_limit
from more_server.engine.runner import Runner, pick_device
from more_server.engine.scheduler import Scheduler
from more_server.engine.sequence import Stream
from more_server.errors import EngineFailure, ModelLoading, MoreError, Unavailable
from more_server.settings import EngineSettings
from more_server.speech import Audio, Samples, Utterance, VoiceLatents
from more_server.xtts.config import XttsConfig
from more_server.xtts.load import load
from more_server.xtts.tokenizer import Tokenizer

Result = TypeVar("Result")
log = structlog.get_logger("more_server.engine")

LOADING_RETRY_SECONDS = 5.0
"""A model loads in seconds; clients honour one to sixty."""
STALL_CHECK_SECONDS = 0.5
"""How often slots whose listeners take nothing are looked at while others wait and nobody speaks."""


@dataclass(frozen=True)
class EngineState:
    """What the engine is doing, for health and metrics."""

    loaded: bool
    model: str
    device: str
    slots: int
    slots_in_use: int
    waiting: int
    failure: str


class Engine:
    """Owns the device. Start it, then `generate`; every method is safe from any thread or event loop."""

    def __init__(self, model_dir: Path, settings: EngineSettings) -> None:
        self.model_dir = model_dir
        self._settings = settings
        self._wake = threading.Condition()
        self._tasks: deque[_Task[Any]] = deque()
        self._stopping = False
        self._failure: BaseException | None = None
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._runner: Runner | None = None
        self._scheduler: Scheduler | None = None
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)

    # -- life

    def start(self) -> None:
        """Begin to load the model; `wait_ready` tells when it is there."""
        self._thread.start()

    async def wait_ready(self) -> None:
        """Return once the model is loaded; raises what kept it from loading (ModelError)."""
        # Shielded: a waiter that is cancelled must not cancel what the engine's thread is about to set.
        await asyncio.shield(asyncio.wrap_future(self._ready))

    def stop(self) -> None:
        """End the thread; streams still running are told so. Returns when the device is free."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def ready(self) -> bool:
        return self._runner is not None and self._failure is None and not self._stopping

    def state(self) -> EngineState:
        with self._wake:
            scheduler = self._scheduler
            return EngineState(
                loaded=self.ready,
                model=self.model_dir.name,
                device=str(self._runner.model.device) if self._runner else "",
                slots=self._settings.slots,
                slots_in_use=scheduler.slots.count - scheduler.slots.free if scheduler else 0,
                waiting=len(scheduler.waiting) if scheduler else 0,
                failure=str(self._failure or ""),
            )

    # -- what the model is

    @property
    def config(self) -> XttsConfig:
        return self._loaded().model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self._loaded().model.tokenizer

    # -- work

    async def generate(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        """Audio of an utterance in order, as it is made. Raises Busy, ModelLoading or EngineFailure.

        Leaving the iterator, by whatever way, frees its slot at the engine's next step.
        """
        runner = self._loaded()
        listener = _Mailbox(asyncio.get_running_loop())
        most = runner.model.gpt.most_codes
        stream = Stream(utterance, listener, lambda segment: code_limit(segment, most))
        with self._wake:
            self._loaded()  # once more, now that the thread cannot end in between
            self._loaded_scheduler().add(stream)
            self._wake.notify_all()
        sample_rate = runner.model.config.output_sample_rate
        try:
            async for samples in listener.chunks():
                yield Audio(samples, sample_rate)
                with self._wake:
                    stream.samples_heard += len(samples)
                    self._wake.notify_all()
        finally:
            with self._wake:
                stream.aborted = True
                self._wake.notify_all()

    async def condition(self, clips: Sequence[tuple[Samples, Samples]]) -> VoiceLatents:
        """Latents of a voice; each clip at the model's mel rate and at its speaker encoder's rate."""
        return await self._on_device(lambda runner: runner.condition(clips))

    async def _on_device(self, work: Callable[[Runner], Result]) -> Result:
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        with self._wake:
            self._loaded()
            self._tasks.append(_Task(future, work))
            self._wake.notify_all()
        return await asyncio.wrap_future(future)

    # -- the thread

    def _live(self) -> None:
        try:
            self._runner = self._load()
        except BaseException as error:  # noqa: BLE001 - whoever waits for readiness gets it
            self._failure = error
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        end: MoreError = Unavailable("the server is shutting down", retry_after=LOADING_RETRY_SECONDS)
        try:
            while self._step(self._runner):
                pass
        except BaseException as error:
            log.exception("the engine's loop ended")
            with self._wake:
                self._failure = error
            end = EngineFailure(f"the engine has failed: {type(error).__name__}: {error}")
        self._end_all(end)

    def _load(self) -> Runner:
        started = time.monotonic()
        torch.set_num_threads(self._settings.threads or _usable_cores())
        model = load(self.model_dir, pick_device(self._settings.device), self._settings.precision)
        runner = Runner(model, self._settings.slots)
        ahead = round(self._settings.ahead_seconds * model.config.output_sample_rate)
        self._scheduler = Scheduler(self._settings.slots, self._settings.queue, ahead)
        seconds = round(time.monotonic() - started, 2)
        if model.config.warning:
            log.warning("about this model", model=self.model_dir.name, warning=model.config.warning)
        log.info(
            "model loaded",
            model=self.model_dir.name,
            device=str(model.device),
            precision=model.precision,
            seconds=seconds,
        )
        return runner

    def _step(self, runner: Runner) -> bool:
        """Schedule, run, postprocess; False when the engine is to end."""
        with self._wake:
            streams, stalled = self._wait_for_work()
            tasks = list(self._tasks)
            self._tasks.clear()
            if self._stopping:
                self._tasks.extend(tasks)
                return False
        for task in tasks:
            task.run(runner)
        for stream in stalled:
            self._end(stream, Unavailable("the audio was not taken while others waited for the slot"))
        for stream, latent in self._latents(runner, streams):
            self._advance(runner, stream, latent)
        return True

    def _wait_for_work(self) -> tuple[list[Stream], list[Stream]]:
        """Streams to move on, and streams whose listeners have let others wait for too long."""
        scheduler = self._loaded_scheduler()
        while True:
            streams, stalled = scheduler.schedule(), scheduler.stalled(self._settings.stalled_seconds)
            if streams or stalled or self._tasks or self._stopping:
                return streams, stalled
            self._wake.wait(STALL_CHECK_SECONDS if scheduler.waiting else None)

    def _latents(self, runner: Runner, streams: list[Stream]) -> list[tuple[Stream, torch.Tensor]]:
        """The next latent of each stream; what fails for several is tried one by one, so that one fails alone."""
        try:
            return list(zip(streams, runner.latents(streams), strict=True)) if streams else []
        except Exception as error:  # noqa: BLE001 - told to its listener
            if len(streams) > 1:
                return [pair for stream in streams for pair in self._latents(runner, [stream])]
            self._fail(streams[0], error)
            return []

    def _fail(self, stream: Stream, error: Exception) -> None:
        if not isinstance(error, MoreError):
            log.error("speaking failed", request_id=stream.utterance.id, exc_info=error)
            failure = EngineFailure(f"the model failed while speaking: {type(error).__name__}: {error}")
            failure.__cause__ = error
            error = failure
        self._end(stream, error)

    def _advance(self, runner: Runner, stream: Stream, latent: torch.Tensor) -> None:
        try:
            samples = runner.run(stream, latent)
        except Exception as error:  # noqa: BLE001 - told to its listener
            self._fail(stream, error)
            return
        if samples is not None:
            stream.samples_made += len(samples)
            stream.listener.audio(samples)
        assert stream.sequence is not None
        if stream.sequence.ended and not stream.next_segment():
            self._end(stream, None)

    def _end(self, stream: Stream, error: BaseException | None) -> None:
        with self._wake:
            self._loaded_scheduler().finish(stream)
        stream.listener.end(error)

    def _end_all(self, error: BaseException) -> None:
        with self._wake:
            streams = self._loaded_scheduler().all_streams()
            tasks = list(self._tasks)
            self._tasks.clear()
        for stream in streams:
            self._end(stream, error)
        for task in tasks:
            task.refuse(error)

    def _loaded(self) -> Runner:
        if self._failure is not None:
            raise Unavailable(f"the engine does not work: {self._failure}", retry_after=LOADING_RETRY_SECONDS)
        if self._stopping:
            raise Unavailable("the server is shutting down", retry_after=LOADING_RETRY_SECONDS)
        if self._runner is None:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY_SECONDS)
        return self._runner

    def _loaded_scheduler(self) -> Scheduler:
        assert self._scheduler is not None
        return self._scheduler


class _Task(Generic[Result]):
    """Work for the device between two steps, and who waits for it."""

    def __init__(self, future: "concurrent.futures.Future[Result]", work: Callable[[Runner], Result]) -> None:
        self._future = future
        self._work = work

    def run(self, runner: Runner) -> None:
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            self._future.set_result(self._work(runner))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self._future.set_exception(error)

    def refuse(self, error: BaseException) -> None:
        if self._future.set_running_or_notify_cancel():
            self._future.set_exception(error)


class _Mailbox:
    """A listener in an event loop: what the engine's thread hands over is read there in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Samples | BaseException | None] = asyncio.Queue()

    def audio(self, samples: Samples) -> None:
        self._put(samples)

    def end(self, error: BaseException | None) -> None:
        self._put(error)

    def _put(self, item: Samples | BaseException | None) -> None:
        # A loop that has closed has no listener left; its stream is aborted by then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def chunks(self) -> AsyncIterator[Samples]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
