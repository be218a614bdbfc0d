"""How does a program ask the node?

`Client` has the node's methods, one request each; a failure comes out as the UserError that the
node raised. Every command starts with this module, so it is made of what loads fast: httpx takes
five times as long to load as all of a short command.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import msgspec

from sharefs.errors import NameNotText, NodeFailed, NodeNotRunning
from sharefs.node.reports import (
    ConflictReport,
    Event,
    FetchProgress,
    FreeReport,
    MemberReport,
    OrderReport,
    PeerReport,
    PinReport,
    ResolveReport,
    SettingReport,
    SpaceReport,
    StatusReport,
    TransferReport,
    TransferVerb,
)
from sharefs.web.messages import (
    Choice,
    Failure,
    FetchLine,
    Invitation,
    NewSpace,
    Paths,
    Pin,
    SettingChange,
    TicketText,
    error_of,
)

CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 120.0
"""Joining waits for the inviter, and freeing asks the holders of every entry."""

Kind = TypeVar("Kind")


class Client:
    """One who asks the node that serves `socket_file`. All methods raise UserErrors."""

    def __init__(self, socket_file: Path) -> None:
        """Raises NodeNotRunning."""
        self._connection = _UnixConnection(socket_file)
        self._connection.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def status(self) -> StatusReport:
        return self._get("/status", StatusReport)

    def create_space(self, name: str) -> SpaceReport:
        return self._post("/spaces", NewSpace(name), SpaceReport)

    def invite(self, space: str, role: str, expires_s: float) -> str:
        return self._post("/tickets", Invitation(space, role, expires_s), TicketText).ticket

    def join(self, text: str) -> SpaceReport:
        return self._post("/memberships", TicketText(text), SpaceReport)

    def spaces(self) -> list[SpaceReport]:
        return self._get("/spaces", list[SpaceReport])

    def members(self, space: str) -> list[MemberReport]:
        return self._get("/members", list[MemberReport], {"space": space})

    def peers(self) -> list[PeerReport]:
        return self._get("/peers", list[PeerReport])

    def transfers(self) -> list[TransferReport]:
        return self._get("/transfers", list[TransferReport])

    def order(self, verb: TransferVerb, paths: list[str]) -> OrderReport:
        return self._post(f"/transfers/{verb}", Paths(paths), OrderReport)

    def conflicts(self, space: str | None = None) -> list[ConflictReport]:
        parameters = {} if space is None else {"space": space}
        return self._get("/conflicts", list[ConflictReport], parameters)

    def resolve(self, path: str, keep: str) -> ResolveReport:
        return self._post("/resolve", Choice(path, keep), ResolveReport)

    def settings(self) -> list[SettingReport]:
        return self._get("/settings", list[SettingReport])

    def set_setting(
        self,
        name: str,
        value: str,
        space: str = "",
        peer: str = "",
        path: str = "",
        hours: str = "",
    ) -> list[SettingReport]:
        change = SettingChange(name.strip(), value, space, peer, path, hours)
        return self._post("/settings", change, list[SettingReport])

    @contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """What happens from now on, until the node goes down."""
        with self._ask("GET", "/events", wait_s=None) as answer:
            yield _lines(answer, msgspec.json.Decoder(Event))

    @contextmanager
    def fetch(self, paths: list[str]) -> Iterator[Iterator[FetchProgress]]:
        """Progress as it is made, the last of it `finished`. Leaving the context ends the fetch."""
        with self._ask("POST", "/fetch", Paths(paths)) as answer:
            yield _progress(answer)

    def free(self, paths: list[str]) -> FreeReport:
        return self._post("/free", Paths(paths), FreeReport)

    def pin(self, paths: list[str], on: bool) -> PinReport:
        return self._post("/pin", Pin(paths, on), PinReport)

    def stop(self) -> None:
        """Ask the node to go down. Returns before it has."""
        self._post("/stop", None, type(None))

    def _get(self, path: str, kind: type[Kind], parameters: dict[str, str] | None = None) -> Kind:
        with self._ask("GET", path, parameters=parameters) as answer:
            return _decode(answer, kind)

    def _post(self, path: str, body: msgspec.Struct | None, kind: type[Kind]) -> Kind:
        with self._ask("POST", path, body) as answer:
            return _decode(answer, kind)

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        parameters: dict[str, str] | None = None,
        wait_s: float | None = ANSWER_S_MAX,
    ) -> Iterator[HTTPResponse]:
        """The answer, still to be read. Leaving the context closes its connection."""
        with _translating():
            target = f"/v1{path}?{urlencode(parameters or {})}"
            # Who needs no body may answer, and be gone, before it could be sent.
            content = None if body is None else msgspec.json.encode(body)
            # One that is kept is closed by the node after a while, maybe just as it is used again.
            self._connection.close()
            self._connection.timeout = wait_s
            self._connection.request(method, target, content, {"Connection": "close"})
            answer = self._connection.getresponse()
        with answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise error_of(_decode(answer, Failure))
            yield answer


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, socket_file: Path) -> None:
        super().__init__("sharefs", timeout=CONNECT_S_MAX)
        self._socket_file = socket_file

    def connect(self) -> None:
        """Raises NodeNotRunning."""
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(CONNECT_S_MAX)
            self.sock.connect(os.fspath(self._socket_file))
            self.sock.settimeout(self.timeout)
        except OSError as error:
            self.close()
            raise NodeNotRunning(_NOT_RUNNING) from error


def _progress(answer: HTTPResponse) -> Iterator[FetchProgress]:
    for line in _lines(answer, msgspec.json.Decoder(FetchLine)):
        if line.failure is not None:
            raise error_of(line.failure)
        if line.progress is not None:
            yield line.progress
            if line.progress.finished:
                return
    raise NodeNotRunning(_WENT_DOWN)


def _lines(answer: HTTPResponse, decoder: msgspec.json.Decoder[Kind]) -> Iterator[Kind]:
    with _translating():
        for line in answer:
            yield decoder.decode(line)


def _decode(answer: HTTPResponse, kind: type[Kind]) -> Kind:
    with _translating():
        return msgspec.json.decode(answer.read(), type=kind)


_NOT_RUNNING = "The node is not running: start it with `sharefs up`."
_WENT_DOWN = "The node went down before it answered: start it with `sharefs up`."


@contextmanager
def _translating() -> Iterator[None]:
    """Foreign exceptions become UserErrors here."""
    try:
        yield
    except TimeoutError as error:
        raise NodeFailed("The node does not answer: its log may say why.") from error
    except (OSError, HTTPException) as error:
        raise NodeNotRunning(_WENT_DOWN) from error
    except UnicodeEncodeError as error:
        raise NameNotText(
            f"{error.object!a} is not UTF-8, so nothing in a space is called that."
        ) from error
    except msgspec.DecodeError as error:
        raise NodeFailed(
            "The node is of another version than this command: restart it with"
            " `sharefs down` and `sharefs up`."
        ) from error
