"""How does a program ask the node?

`Client` has the node's methods, one request each; a failure comes out as the UserError that the
node raised.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
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
    """A connection to the node that serves `socket_file`. All methods raise UserErrors."""

    def __init__(self, socket_file: Path) -> None:
        """Raises NodeNotRunning."""
        _check_served(socket_file)
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket_file)),
            base_url="http://sharefs/v1",
            timeout=httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX),
            # A proxy of the environment would be used in place of the socket.
            trust_env=False,
        )

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
        self._http.close()

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
        endless = httpx.Timeout(None, connect=CONNECT_S_MAX)
        with _translating(), self._http.stream("GET", "/events", timeout=endless) as response:
            if response.is_error:
                response.read()
                _raise_failure(response)
            yield (msgspec.json.decode(line, type=Event) for line in response.iter_lines())

    @contextmanager
    def fetch(self, paths: list[str]) -> Iterator[Iterator[FetchProgress]]:
        """Progress as it is made, the last of it `finished`. Leaving the context ends the fetch."""
        with (
            _translating(),
            self._http.stream(
                "POST", "/fetch", content=msgspec.json.encode(Paths(paths))
            ) as response,
        ):
            if response.is_error:
                response.read()
                _raise_failure(response)
            yield _progress(response)

    def free(self, paths: list[str]) -> FreeReport:
        return self._post("/free", Paths(paths), FreeReport)

    def pin(self, paths: list[str], on: bool) -> PinReport:
        return self._post("/pin", Pin(paths, on), PinReport)

    def stop(self) -> None:
        """Ask the node to go down. Returns before it has."""
        self._post("/stop", None, type(None))

    def _get(self, path: str, kind: type[Kind], parameters: dict[str, str] | None = None) -> Kind:
        with _translating():
            return _decode(self._http.get(path, params=parameters), kind)

    def _post(self, path: str, body: msgspec.Struct | None, kind: type[Kind]) -> Kind:
        with _translating():
            return _decode(self._http.post(path, content=msgspec.json.encode(body)), kind)


def _progress(response: httpx.Response) -> Iterator[FetchProgress]:
    for text in response.iter_lines():
        line = msgspec.json.decode(text, type=FetchLine)
        if line.failure is not None:
            raise error_of(line.failure)
        if line.progress is not None:
            yield line.progress


def _decode(response: httpx.Response, kind: type[Kind]) -> Kind:
    if response.is_error:
        _raise_failure(response)
    return msgspec.json.decode(response.content, type=kind)


def _raise_failure(response: httpx.Response) -> None:
    raise error_of(msgspec.json.decode(response.content, type=Failure))


def _check_served(socket_file: Path) -> None:
    # httpx leaves a socket open that it can not connect, so the usual failure is met before it.
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_S_MAX)
            probe.connect(str(socket_file))
    except OSError as error:
        raise NodeNotRunning(_NOT_RUNNING) from error


_NOT_RUNNING = "The node is not running: start it with `sharefs up`."


@contextmanager
def _translating() -> Iterator[None]:
    """Foreign exceptions become UserErrors here."""
    try:
        yield
    except httpx.ConnectError as error:
        raise NodeNotRunning(_NOT_RUNNING) from error
    except httpx.TimeoutException as error:
        raise NodeFailed("The node does not answer: its log may say why.") from error
    except httpx.TransportError as error:
        raise NodeNotRunning(
            "The node went down before it answered: start it with `sharefs up`."
        ) from error
    except UnicodeEncodeError as error:
        raise NameNotText(
            f"{error.object!a} is not UTF-8, so nothing in a space is called that."
        ) from error
    except msgspec.DecodeError as error:
        raise NodeFailed(
            "The node is of another version than this command: restart it with"
            " `sharefs down` and `sharefs up`."
        ) from error
