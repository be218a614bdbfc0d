"""What can be asked over the local API, and how is it answered?

Every answer is JSON. A UserError is answered with a `Failure` and a fitting status. Two answers are
long, a value to a line: `FetchLine`s, where whoever closes the connection ends the fetch, and
`Event`s, which go on until somebody closes the connection.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sharefs.errors import (
    AlreadyMember,
    BadArgument,
    DiskFull,
    EntryExists,
    InviterNotReachable,
    LastCopy,
    LocalDamage,
    NoConflict,
    NodeFailed,
    NodeNotRunning,
    NoHolderOnline,
    NoSuchEntry,
    NoSuchSpace,
    NotAllowed,
    NotInASpace,
    Pinned,
    ReadOnlySpace,
    UserError,
)
from sharefs.node.reports import TransferVerb
from sharefs.web.messages import (
    Choice,
    FetchLine,
    Invitation,
    NewSpace,
    Paths,
    Pin,
    SettingChange,
    TicketText,
    failure_of,
)
from sharefs.web.ports import FetchJob, Listener, Node

BODY_SIZE_BYTES_MAX = 16 * 1024 * 1024
"""Room for the paths of a shell's longest command line, several times over."""
PROGRESS_INTERVAL_S_MIN = 0.05
PROGRESS_INTERVAL_S_MAX = 0.5
"""Only what is shown hangs on it: the end of a fetch is told at once."""
PROGRESS_PAUSE_FACTOR_MIN = 20
"""To ask how far many thousands of files are keeps the node's loop from fetching them: after a
question there is a pause of so many times as long as the answer took."""

STATUS_OF: dict[type[UserError], int] = {
    NotAllowed: 403,
    ReadOnlySpace: 403,
    NoConflict: 404,
    NoSuchEntry: 404,
    NoSuchSpace: 404,
    NotInASpace: 404,
    AlreadyMember: 409,
    EntryExists: 409,
    LastCopy: 409,
    Pinned: 409,
    LocalDamage: 500,
    NodeFailed: 500,
    InviterNotReachable: 503,
    NoHolderOnline: 503,
    NodeNotRunning: 503,
    DiskFull: 507,
}
"""400 for all others."""

Body = TypeVar("Body")
Value = TypeVar("Value")
_log = logging.getLogger(__name__)


def make_app(node: Node, closing: asyncio.Event) -> Starlette:
    """The API over a node. Fetches end when `closing` is set."""
    api = Api(node, closing)
    return Starlette(
        routes=[
            Route("/v1/status", api.status, methods=["GET"]),
            Route("/v1/spaces", api.spaces, methods=["GET"]),
            Route("/v1/spaces", api.create_space, methods=["POST"]),
            Route("/v1/members", api.members, methods=["GET"]),
            Route("/v1/memberships", api.join, methods=["POST"]),
            Route("/v1/tickets", api.invite, methods=["POST"]),
            Route("/v1/peers", api.peers, methods=["GET"]),
            Route("/v1/transfers", api.transfers, methods=["GET"]),
            Route("/v1/transfers/{verb}", api.order, methods=["POST"]),
            Route("/v1/conflicts", api.conflicts, methods=["GET"]),
            Route("/v1/resolve", api.resolve, methods=["POST"]),
            Route("/v1/settings", api.settings, methods=["GET"]),
            Route("/v1/settings", api.set_setting, methods=["POST"]),
            Route("/v1/events", api.events, methods=["GET"]),
            Route("/v1/fetch", api.fetch, methods=["POST"]),
            Route("/v1/free", api.free, methods=["POST"]),
            Route("/v1/pin", api.pin, methods=["POST"]),
            Route("/v1/stop", api.stop, methods=["POST"]),
        ],
        exception_handlers={UserError: answer_user_error},
    )


class Api:
    """The end points. The node's methods may wait, so each call runs in a thread of its own."""

    def __init__(self, node: Node, closing: asyncio.Event) -> None:
        self._node = node
        self._closing = closing

    async def status(self, request: Request) -> Response:
        return await _answer(self._node.status)

    async def spaces(self, request: Request) -> Response:
        return await _answer(self._node.spaces)

    async def create_space(self, request: Request) -> Response:
        body = await _read_body(request, NewSpace)
        return await _answer(lambda: self._node.create_space(body.name))

    async def members(self, request: Request) -> Response:
        # Names of spaces may hold anything, slashes too, so this one is a parameter and not a path.
        space = request.query_params.get("space")
        if space is None:
            raise BadArgument("The request names no space: add ?space=NAME.")
        return await _answer(lambda: self._node.members(space))

    async def join(self, request: Request) -> Response:
        body = await _read_body(request, TicketText)
        return await _answer(lambda: self._node.join(body.ticket))

    async def invite(self, request: Request) -> Response:
        body = await _read_body(request, Invitation)
        return await _answer(
            lambda: TicketText(self._node.invite(body.space, body.role, body.expires_s))
        )

    async def peers(self, request: Request) -> Response:
        return await _answer(self._node.peers)

    async def transfers(self, request: Request) -> Response:
        return await _answer(self._node.transfers)

    async def order(self, request: Request) -> Response:
        body = await _read_body(request, Paths)
        try:
            verb = TransferVerb(request.path_params["verb"])
        except ValueError as error:
            raise BadArgument(f"A transfer has no {request.path_params['verb']!r}.") from error
        return await _answer(lambda: self._node.order(verb, body.paths))

    async def conflicts(self, request: Request) -> Response:
        space = request.query_params.get("space")
        return await _answer(lambda: self._node.conflicts(space))

    async def resolve(self, request: Request) -> Response:
        body = await _read_body(request, Choice)
        return await _answer(lambda: self._node.resolve(body.path, body.keep))

    async def settings(self, request: Request) -> Response:
        return await _answer(self._node.settings)

    async def set_setting(self, request: Request) -> Response:
        body = await _read_body(request, SettingChange)
        return await _answer(lambda: self._node.set_setting(**msgspec.structs.asdict(body)))

    async def events(self, request: Request) -> Response:
        wake = asyncio.Event()
        setter = _threadsafe_setter(wake)
        listener = await _call(lambda: self._node.listen(setter))
        return EventStream(listener, wake, self._closing)

    async def fetch(self, request: Request) -> Response:
        body = await _read_body(request, Paths)
        ended = asyncio.Event()
        setter = _threadsafe_setter(ended)
        job = await _call(lambda: self._node.fetch(body.paths, setter))
        return FetchStream(job, ended, self._closing)

    async def free(self, request: Request) -> Response:
        body = await _read_body(request, Paths)
        return await _answer(lambda: self._node.free(body.paths))

    async def pin(self, request: Request) -> Response:
        body = await _read_body(request, Pin)
        return await _answer(lambda: self._node.pin(body.paths, body.on))

    async def stop(self, request: Request) -> Response:
        return await _answer(self._node.stop)


async def answer_user_error(request: Request, error: Exception) -> Response:
    """Tell the client what the person should read."""
    assert isinstance(error, UserError), "starlette calls this for UserErrors only"
    return _json(failure_of(error), STATUS_OF.get(type(error), 400))


class FetchStream(StreamingResponse):
    """A fetch's progress, until it has finished or the client is gone: it never outlives this."""

    def __init__(self, job: FetchJob, ended: asyncio.Event, closing: asyncio.Event) -> None:
        super().__init__(_lines(job, ended, closing), media_type="application/x-ndjson")
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here and not in the generator: one that was never begun runs no `finally`.
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


class EventStream(StreamingResponse):
    """What happens, until the client is gone."""

    def __init__(self, listener: Listener, wake: asyncio.Event, closing: asyncio.Event) -> None:
        super().__init__(_events(listener, wake, closing), media_type="application/x-ndjson")
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listener.close()


async def _events(
    listener: Listener, wake: asyncio.Event, closing: asyncio.Event
) -> AsyncIterator[bytes]:
    while not closing.is_set():
        wake.clear()
        for event in await _call(listener.take):
            yield msgspec.json.encode(event) + b"\n"
        await _first_of(wake, closing)


def _threadsafe_setter(event: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        # The node may have something to tell while this server goes down.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return set_event


async def _first_of(*events: asyncio.Event, seconds_max: float | None = None) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _lines(
    job: FetchJob, ended: asyncio.Event, closing: asyncio.Event
) -> AsyncIterator[bytes]:
    interval_s = PROGRESS_INTERVAL_S_MIN
    while True:
        began = time.monotonic()
        line = await _next_line(job, closing)
        took_s = time.monotonic() - began
        yield msgspec.json.encode(line) + b"\n"
        if line.progress is None or line.progress.finished:
            return
        # The first steps are told soon, those of a long fetch seldom.
        pause_s = max(interval_s, PROGRESS_PAUSE_FACTOR_MIN * took_s)
        await _first_of(ended, closing, seconds_max=pause_s)
        interval_s = min(2 * interval_s, PROGRESS_INTERVAL_S_MAX)


async def _next_line(job: FetchJob, closing: asyncio.Event) -> FetchLine:
    if closing.is_set():
        return FetchLine(failure=failure_of(NodeNotRunning(_GOING_DOWN)))
    try:
        return FetchLine(progress=await _call(job.progress))
    except UserError as error:
        return FetchLine(failure=failure_of(error))


_GOING_DOWN = "The node is going down: what arrived stays, and `sharefs fetch` goes on after `up`."


async def _answer(call: Callable[[], object]) -> Response:
    return _json(await _call(call), 200)


async def _call(call: Callable[[], Value]) -> Value:
    """What the node answers. Raises UserErrors only: a bug is logged, and told of as one."""
    try:
        return await run_in_threadpool(call)
    except UserError:
        raise
    except Exception as error:
        _log.exception("a request met a bug")
        raise NodeFailed(
            f"The node met an unexpected {type(error).__name__}: its log says where."
        ) from error


def _json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _read_body(request: Request, kind: type[Body]) -> Body:
    """Raises BadArgument for what is too long or not of the kind."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_SIZE_BYTES_MAX:
            raise BadArgument(f"A request has at most {BODY_SIZE_BYTES_MAX} bytes.")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadArgument(f"The request is not what this address expects: {error}.") from error
