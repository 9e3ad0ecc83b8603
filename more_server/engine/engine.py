"""The engine as the rest of the house sees it: a thread that owns the device, behind an async face."""

import asyncio
import concurrent.futures
import gc
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog
import torch

from more_server.engine import guards, memory
from more_server.engine.listener import Mailbox, Task
from more_server.engine.loop import BREAKER_OPEN, Loop
from more_server.engine.runner import Runner, pick_device
from more_server.engine.scheduler import Limits, Scheduler
from more_server.engine.sequence import Stream
from more_server.engine.state import EngineState
from more_server.engine.watch import HUNG, LOOK_SECONDS, Watch, unavailable
from more_server.errors import EngineFailure, ModelLoading, MoreError, Resting, SettingsError, Unavailable
from more_server.speech import Audio, Samples, Segment, Utterance, VoiceLatents
from more_server.tables import EngineSettings
from more_server.xtts.config import XttsConfig
from more_server.xtts.load import load
from more_server.xtts.tokenizer import Tokenizer

Result = TypeVar("Result")
GetBounds = Callable[[Segment, str, int], guards.Bounds]
log = structlog.get_logger("more_server.engine")

LOADING_RETRY_SECONDS = 5.0
"""A model loads in seconds; clients honour one to sixty."""
RESTING = "speech is paused while a model is being trained (jobs.training_memory)"
RESTING_RETRY_SECONDS = 60.0
"""A training takes longer; clients honour no more."""
DRAIN_SECONDS = 0.2
"""How often an engine that is to rest or to end is asked whether it still speaks."""
HUNG_JOIN_SECONDS = 2.0
ALONE_JOB_ROWS = 3
"""Rows of jobs in one turn where they gain nothing from company but the draw: nano in fp32 takes 4 ms a row and 1 ms
for all draws. With seven of them a person waited for 30 ms; with three first audio grows by a sixth; with two a job
takes 4 % more time, with one 14 %."""
CPU_PROMPTS, GPU_PROMPTS = 1, 8
"""Prompts read in one turn. One of 60 tokens takes two cores 0.1 s with XTTS-v2, in which all others wait; eight of
them in one pass took 1.4 s."""


class Engine:
    """Owns the device. Start it, then `generate`; every method is safe from any thread or event loop."""

    def __init__(self, model_dir: Path, settings: EngineSettings, bounds: GetBounds = guards.bounds) -> None:
        """bounds: how many codes a segment may take, for its text, its language and the model's own most."""
        self.model_dir = model_dir
        self._settings = settings
        self._bounds = bounds
        self._lock = threading.Lock()
        self._stopping = False
        self._failure = ""
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop: Loop | None = None
        self._watch: Watch | None = None
        self._changing = threading.Lock()
        """Held while the thread is ended or begun anew."""
        self._resting = self._lowered = False
        self._config: XttsConfig | None = None
        self._tokenizer: Tokenizer | None = None
        self._device = ""
        self._thread = self._new_thread()

    # -- life

    def start(self) -> None:
        """Begin to load the model; `wait_ready` tells when it is there."""
        self._thread.start()

    async def wait_ready(self) -> None:
        """Return once the model is loaded; raises what kept it from loading (ModelError, SettingsError)."""
        # Shielded: a waiter that is cancelled must not cancel what the engine's thread is about to set.
        await asyncio.shield(asyncio.wrap_future(self._ready))

    def stop(self) -> None:
        """End the thread; streams still running are told so. Returns when the device is free."""
        with self._lock:
            self._stopping = True
        with self._changing:
            self._end_thread()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._live, name="engine", daemon=True)

    def _end_thread(self) -> None:
        with self._lock:
            loop = self._loop
        if loop is not None:
            with loop.wake:
                loop.stopping = True
                loop.wake.notify_all()
        while self._thread.is_alive():
            self._thread.join(HUNG_JOIN_SECONDS)
            if self.hung:
                return  # the server's end does not wait for one that hangs

    # -- making room

    @property
    def resting(self) -> bool:
        """Speech is paused, so whoever can wait should."""
        return self._resting

    async def rest(self) -> None:
        """Take no more speech, let what runs come to its end, then free the model's memory; until `wake`.

        Listeners who take nothing for `stalled_seconds` are cut off. One that is still loading ends that first; one
        that has failed is freed, too. Raises Unavailable where a step hangs.
        """
        self._resting = True
        self._tell()
        with suppress(Exception):  # told by `state`, and to whoever started it
            await self.wait_ready()
        await self.drained()
        await asyncio.to_thread(self._unload)

    async def drained(self) -> None:
        """Return once nothing is spoken and nothing waits; what was resolved a moment ago has come by then.

        Raises Unavailable where that never ends, for a step hangs.
        """
        while True:
            await asyncio.sleep(DRAIN_SECONDS)
            if self.hung:
                raise unavailable()
            if not self._is_at_work():
                return

    def wake(self) -> None:
        """Load the model again and take speech; `wait_ready` tells when. May be called while `rest` is not done."""
        with self._changing:
            self._resting = False
            self._tell()
            with self._lock:
                anew = self._loop is None and self._config is not None and not self._stopping
            if anew and not self._thread.is_alive():  # else it is being loaded already
                self._ready, self._failure = concurrent.futures.Future(), ""
                self._thread = self._new_thread()
                self._thread.start()

    def lower(self, lowered: bool) -> None:
        """Speak half as many segments at a time, one at least, or as many as usual; what runs is not touched."""
        self._lowered = lowered
        self._tell()

    def _tell(self) -> None:
        """Tell the loop, where there is one, how it is to work."""
        with self._lock:
            loop = self._loop
            if loop is None:
                return
            with loop.wake:
                loop.scheduler.lower(max(1, loop.runner.slots // 2) if self._lowered else None)
                loop.scheduler.draining = self._resting
                loop.wake.notify_all()

    def _is_at_work(self) -> bool:
        loop = self._loop
        if loop is None:
            return False
        with loop.wake:
            return bool(loop.scheduler.all_streams() or loop.tasks) and self._thread.is_alive()

    def _unload(self) -> None:
        with self._changing:
            if not self._resting:
                return
            self._end_thread()
            if self._thread.is_alive():
                raise unavailable()  # and what it holds is not free
            with self._lock:
                loop, self._loop = self._loop, None
                if loop is not None:
                    self._failure = ""  # of a loop that is no more; the next one is begun anew
        if loop is not None:
            device = loop.runner.model.device
            del loop
            is_settled = gc.get_freeze_count() > 0
            gc.unfreeze()  # it may be among what `serve` has left out of collections
            gc.collect()
            if is_settled:
                gc.freeze()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            log.info("model rests", model=self.model_dir.name)

    @property
    def hung(self) -> bool:
        """A step does not come back."""
        watch = self._watch
        return watch is not None and watch.hung

    @property
    def ready(self) -> bool:
        return self.state().loaded

    def state(self) -> EngineState:
        loop, failure, resting = self._loop, self._failure, self._resting
        if loop is None or failure:
            told = failure or (RESTING if resting else "")
            return EngineState(self.model_dir.name, failure=told, device=self._device, resting=resting)
        with loop.wake:
            scheduler = loop.scheduler
            open_ = loop.breaker.open
            return EngineState(
                model=self.model_dir.name,
                loaded=not (open_ or self._stopping or resting or self.hung),
                failure=HUNG if self.hung else RESTING if resting else BREAKER_OPEN if open_ else "",
                device=str(loop.runner.model.device),
                precision=loop.runner.model.precision,
                slots=scheduler.slots.most,
                slots_in_use=scheduler.slots.in_use,
                speaking=len(scheduler.running),
                waiting=len(scheduler.waiting),
                breaker_open=open_,
                hung=self.hung,
                resting=resting,
                steps_by_rows=dict(loop.rows),
            )

    # -- what the model is

    @property
    def config(self) -> XttsConfig:
        return self._config or self._running().runner.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer or self._running().runner.model.tokenizer

    # -- work

    async def generate(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        """Audio of an utterance in order, as it is made. Raises Busy, ModelLoading, Unavailable or EngineFailure.

        Leaving the iterator, by whatever way, frees its slots at the engine's next step.
        """
        listener = Mailbox(asyncio.get_running_loop())
        stream, wake = self._queued(utterance, listener)
        try:
            async for samples, actions, ends_segment in listener.pieces():
                yield Audio(samples, stream.sample_rate, actions, ends_segment)
                with wake:
                    stream.samples_heard += len(samples)
                    wake.notify_all()
        finally:
            with wake:
                stream.aborted = True
                wake.notify_all()

    def _queued(self, utterance: Utterance, listener: Mailbox) -> tuple[Stream, threading.Condition]:
        """The utterance's stream, and what guards it. The loop and its model stay here: whoever listens lives on for
        as long as he likes, and would keep them in memory."""
        loop = self._running()
        model = loop.runner.model
        most, language = model.gpt.most_codes, utterance.language
        stream = Stream(
            utterance,
            listener,
            lambda segment: self._bounds(segment, language, most),
            model.config.output_sample_rate,
        )
        with loop.wake:
            self._running()  # once more, now that the thread cannot end in between
            self._check_breaker(loop)
            loop.scheduler.add(stream)
            loop.wake.notify_all()
        return stream, loop.wake

    async def condition(self, clips: Sequence[tuple[Samples, Samples]]) -> VoiceLatents:
        """Latents of a voice; each clip at the model's mel rate and at its speaker encoder's rate."""
        return await self._on_device(lambda runner: runner.condition(clips))

    async def _on_device(self, work: Callable[[Runner], Result]) -> Result:
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        loop = self._running()
        with loop.wake:
            self._running()
            self._check_breaker(loop)
            loop.tasks.append(Task(future, work))
            loop.wake.notify_all()
        working = asyncio.wrap_future(future)
        try:
            while not (await asyncio.wait({working}, timeout=LOOK_SECONDS))[0]:
                if self.hung:
                    raise unavailable()
            return working.result()
        finally:
            working.cancel()

    # -- the thread

    def _live(self) -> None:
        try:
            loop = self._load()
            model = loop.runner.model
            with self._lock:
                self._config, self._tokenizer, self._device = model.config, model.tokenizer, str(model.device)
                self._loop, loop.stopping = loop, self._stopping
                self._watch = Watch(loop, threading.current_thread(), self._settings.hung_seconds)
            self._tell()
            self._watch.start()
            del model
        except BaseException as error:  # whoever waits for readiness gets it
            if self._config is not None:
                log.exception("the model cannot be loaded again", model=self.model_dir.name)
            self._failure = str(error) or type(error).__name__
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        end: MoreError = Unavailable("the server is shutting down", retry_after=LOADING_RETRY_SECONDS)
        try:
            while loop.step():
                pass
        except BaseException as error:
            log.exception("the engine's loop ended")
            reason = f"{type(error).__name__}: {error}"  # of the error itself nothing is kept: it holds the model
            with loop.wake:
                self._failure = reason
            end = EngineFailure(f"the engine has failed: {reason}")
        self._watch.end()
        self._watch = None  # it holds the model
        loop.end_all(end)

    def _load(self) -> Loop:
        settings, started = self._settings, time.monotonic()
        torch.set_num_threads(settings.threads or usable_cores())
        device = pick_device(settings.device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # of this thread: graphs are captured on the current one
            torch.backends.cudnn.allow_tf32 = False  # in fp32 as said; what is to be fast is in bf16
        model = load(self.model_dir, device, settings.precision)
        slots = memory.slot_count(settings, model.device, model.slot_bytes, memory.taken_bytes(model.device))
        concurrency = settings.max_concurrency or slots
        if concurrency > slots:
            raise SettingsError(f"engine.max_concurrency {concurrency} is more than there are slots ({slots})")
        runner = Runner(model, slots)
        limits = Limits(
            slots,
            concurrency,
            settings.queue,
            settings.ahead_seconds,
            settings.deadline_seconds,
            CPU_PROMPTS if model.device.type == "cpu" else GPU_PROMPTS,
            slots if runner.together else ALONE_JOB_ROWS,
        )
        runner.capture()
        if model.config.warning:
            log.warning("about this model", model=self.model_dir.name, warning=model.config.warning)
        log.info(
            "model loaded",
            model=self.model_dir.name,
            device=str(model.device),
            precision=model.precision,
            slots=slots,
            seconds=round(time.monotonic() - started, 2),
        )
        return Loop(runner, Scheduler(limits), settings.stalled_seconds)

    def _running(self) -> Loop:
        if self._failure:
            raise Unavailable(f"the engine does not work: {self._failure}", retry_after=LOADING_RETRY_SECONDS)
        if self._stopping:
            raise Unavailable("the server is shutting down", retry_after=LOADING_RETRY_SECONDS)
        if self._resting:
            raise Resting(RESTING, retry_after=RESTING_RETRY_SECONDS)
        if self.hung:
            raise unavailable()
        if self._loop is None:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY_SECONDS)
        return self._loop

    @staticmethod
    def _check_breaker(loop: Loop) -> None:
        if loop.breaker.open:
            raise Unavailable(BREAKER_OPEN, retry_after=loop.breaker.retry_after)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
