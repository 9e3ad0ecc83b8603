"""A replica: the application made in the process that Serve gives it, and what Serve must know of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send

from more_server import logs
from more_server.app import App, create_app, kinds_of_jobs
from more_server.decisions import take_up_decisions
from more_server.engine.watch import HUNG, HUNG_RETRY_SECONDS
from more_server.errors import MoreError, StorageError, Unavailable
from more_server.keys import check_reach
from more_server.settings import Loaded, Settings, read
from more_server.shared.board import Board
from more_server.siblings import QUESTIONS, Name, Question, Siblings
from more_server.threads import to_its_end
from more_server.web.bounds import Bodies
from more_server.web.health import condition
from more_server.web.own import own

LOOK_SECONDS = 0.25
"""Between two looks whether this replica is to leave, and then whether anybody is still spoken to."""
# Serve tells its proxies first and the replica then, a few ms later; a request on its way in between must be taken.
STALE_SECONDS = 2.0
"""From being told to leave to refusing what is new: what proxies have sent meanwhile is still spoken."""
SERVICE_RESTART, TOO_BIG = 1012, 1009
"""WebSocket's codes for a server that goes away and may be come back to, and for a message that is too large."""
ASK_SECONDS = 2.0
"""For the database, of which whoever scrapes metrics waits for ten."""
TELL_SECONDS = 5.0
"""Between two reports to the other replicas; Prometheus asks every 15 s by itself."""
NAME = b"x-replica"
"""Header of each answer that tells which replica gave it."""
REQUEST_ID = b"x-request-id"
log = structlog.get_logger("more_server.cluster")


class OneOfMany(Siblings):
    """A replica hears of the others where there is a database, and binds no ports beside Serve's, such as Wyoming's."""

    # Two replicas of one node would fight for a port, and who speaks Wyoming would be bound to one of them: its users
    # have `more-server serve` for it, or a bridge that speaks the HTTP of the cluster.
    is_first = False

    def __init__(self, name: str, database: str) -> None:
        self.name = name
        self.is_alone = not database
        self._board = Board(database)

    async def ask(self, question: Question) -> Mapping[Name, bytes | None]:
        """What each other replica has said some seconds ago, by name; none of them while the database is away."""
        if self.is_alone:
            return {}
        try:
            async with asyncio.timeout(ASK_SECONDS):
                found = await asyncio.to_thread(self._board.of_others, str(self.name), question)
        except (StorageError, TimeoutError) as error:
            log.warning("other replicas are not heard of", reason=str(error) or f"no answer in {ASK_SECONDS:g} s")
            return {}
        return {name: content for name, content in found.items()}  # noqa: C416 - of a wider type

    async def tell(self, answer: Callable[[Question], Awaitable[bytes]]) -> None:
        """Tell the others of this replica again and again, until this is cancelled; without a database, nothing."""
        told = ""
        while not self.is_alone:
            try:
                answers: dict[str, bytes] = {question: await answer(question) for question in QUESTIONS}
                await to_its_end(self._board.post, str(self.name), answers)
            except Exception as error:  # whatever it is, they shall hear of it again
                known = isinstance(error, MoreError)
                if told != (told := str(error) or repr(error)):
                    log.warning("other replicas do not hear of this one", reason=told, exc_info=not known)
            else:
                told = ""
            await asyncio.sleep(TELL_SECONDS)

    async def leave(self) -> None:
        """Be told of no more."""
        if not self.is_alone:
            with suppress(StorageError, TimeoutError):  # what is old is not told either
                async with asyncio.timeout(ASK_SECONDS):
                    await asyncio.to_thread(self._board.leave, str(self.name))


class Replica:
    """An ASGI application: this server's, which starts before Serve sends anything and leaves when Serve says so."""

    def __init__(self, name: str, host: str, threads: int, is_leaving: Callable[[], bool]) -> None:
        """host: address that Serve's proxies bind. threads: CPU threads where the settings leave them open; 0: all.

        is_leaving: whether Serve has told this replica to end. Raises MoreError, as a start of `serve` does.
        """

        def reread() -> Loaded:
            """Settings of this node as they are now, less what a replica cannot do."""
            found = read()
            return msgspec.structs.replace(found, settings=settings_of_replica(found.settings, host, threads))

        settings = reread().settings
        lines = logs.RecentLines()
        logs.configure(settings.log_level, settings.log_format, lines)
        take_up_decisions(settings)
        check_reach(settings)
        self._name = name.encode()
        self._is_leaving = is_leaving
        self._started: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: set[Socket] = set()
        self._others = OneOfMany(name, settings.database)
        self._application = create_app(settings, self._on_started, reread, kinds_of_jobs, lines, self._others)
        self._bodies = Bodies(self._application, lambda: self._application.speaker.settings.limits)

    @property
    def application(self) -> App:
        """This server's own."""
        return self._application

    def check_health(self) -> None:
        """Raises Unavailable where a new process is what helps: a step hangs, the breaker is open, the engine ended.

        A model that loads, or rests for a training, is no illness.
        """
        speaker = self._application.speaker
        if any(model.engine.hung for model in speaker.fleet.present()):
            raise Unavailable(HUNG, retry_after=HUNG_RETRY_SECONDS)
        now = condition(speaker)
        if now.status == "failing":
            raise Unavailable(now.reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if str(scope["type"]) == "lifespan":
            await self._application(scope, receive, self._when_started(send))
            return
        send = self._named(scope, send)
        if scope["type"] != ScopeType.WEBSOCKET:
            await self._bodies(scope, receive, send)
            return
        socket = Socket(receive, send, self._application.speaker.settings.limits.body_bytes)
        self._sockets.add(socket)
        try:
            await self._application(scope, socket.receive, socket.send)
        finally:
            self._sockets.discard(socket)

    # -- beginning and end

    def _when_started(self, send: Send) -> Send:
        """Tells Serve of the start once the model can speak: until then it sends no request here, and waits."""
        self._started = asyncio.get_running_loop().create_future()

        async def told(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                assert self._started is not None
                try:
                    await self._started
                except Exception as error:
                    log.exception("the replica cannot start")
                    reason = error.message if isinstance(error, MoreError) else f"{type(error).__name__}: {error}"
                    message = {"type": "lifespan.startup.failed", "message": reason}
                else:
                    telling = self._others.tell(partial(own, self._application.speaker))
                    self._tasks = [asyncio.create_task(work) for work in (self._leave_when_told(), telling)]
            elif message["type"] == "lifespan.shutdown.complete":
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks)
                await self._others.leave()
            await send(message)

        return told

    def _on_started(self, error: BaseException | None) -> None:
        assert self._started is not None
        if error is None:
            self._started.set_result(None)
        else:
            self._started.set_exception(error)

    async def _leave_when_told(self) -> None:
        while not self._is_leaving():  # noqa: ASYNC110 - Serve has no event for it
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(STALE_SECONDS)
        await self._application.leave()
        while self._application.is_at_work():  # noqa: ASYNC110 - counted in threads of engines
            await asyncio.sleep(LOOK_SECONDS)
        for socket in list(self._sockets):
            await socket.end(SERVICE_RESTART, "this replica leaves")

    def _named(self, scope: Scope, send: Send) -> Send:
        """Adds the name of this replica, and leaves out the request's id where Serve's proxy adds the same one."""
        given = dict(scope["headers"]).get(REQUEST_ID)

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [one for one in message["headers"] if one != (REQUEST_ID, given)]
                message = {**message, "headers": [*headers, (NAME, self._name)]}
            elif message["type"] == "websocket.accept":
                message = {**message, "headers": [*message.get("headers", ()), (NAME, self._name)]}
            await send(message)

        return sent


class Socket:
    """A WebSocket that this side can end while the application waits for its client."""

    def __init__(self, receive: Receive, send: Send, most_bytes: int) -> None:
        """most_bytes: of a message; Serve's proxy lets 16 MB through."""
        self._receive, self._send, self._most_bytes = receive, send, most_bytes
        self._ended = asyncio.Event()
        self._code = 0

    async def receive(self) -> Any:
        """ASGI's."""
        receiving = asyncio.ensure_future(self._receive())
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({receiving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                message: Any = receiving.result()
                if _size(message) <= self._most_bytes:
                    return message
                await self.end(TOO_BIG, f"a message has at most {self._most_bytes} bytes (limits.body_bytes)")
            return {"type": "websocket.disconnect", "code": self._code}
        finally:
            receiving.cancel()
            ending.cancel()

    async def send(self, message: Message) -> None:
        """ASGI's; nothing goes out after the end."""
        if not self._ended.is_set():
            await self._send(message)

    async def end(self, code: int, reason: str) -> None:
        """Tell the client why, and the application that the client has left."""
        with suppress(Exception):  # it has left, or was never accepted
            await self.send({"type": "websocket.close", "code": code, "reason": reason})
        self._code = code
        self._ended.set()


def _size(message: Any) -> int:
    text = message.get("text")
    return len(text.encode()) if text is not None else len(message.get("bytes") or b"")


def settings_of_replica(settings: Settings, host: str, threads: int) -> Settings:
    """Settings of a node for a replica on it: Serve's address, and its share of the cores."""
    server = msgspec.structs.replace(settings.server, host=host)
    engine = msgspec.structs.replace(settings.engine, threads=settings.engine.threads or threads)
    return msgspec.structs.replace(settings, server=server, engine=engine)
