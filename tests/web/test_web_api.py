"""The local API, its client, and a node in memory, over a real Unix socket."""

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from sharefs import errors
from sharefs.errors import (
    BadArgument,
    DiskFull,
    HomeNotUsable,
    NameNotText,
    NoConflict,
    NodeFailed,
    NodeNotRunning,
    NoSuchSpace,
    TicketNotValid,
    UserError,
)
from sharefs.node.reports import ConflictEvent, PeerReport, SettledEvent, TransferVerb
from sharefs.web.client import Client
from sharefs.web.fake import FILE_SIZE_BYTES, FakeNode
from sharefs.web.messages import Failure, error_of, failure_of
from sharefs.web.server import ApiServer

WAIT_S_MAX = 10


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def socket_file(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def server(node: FakeNode, socket_file: Path) -> Iterator[ApiServer]:
    server = ApiServer(node, socket_file)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: ApiServer, socket_file: Path) -> Iterator[Client]:
    with Client(socket_file) as client:
        yield client


@pytest.fixture
def http(server: ApiServer, socket_file: Path) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(socket_file))
    with httpx.Client(transport=transport, base_url="http://sharefs", trust_env=False) as http:
        yield http


def test_every_question_comes_back_as_the_node_answered_it(client: Client, node: FakeNode) -> None:
    created = client.create_space("Family & friends/1")
    assert created == node.spaces()[0]
    assert client.spaces() == node.spaces()
    assert client.status() == node.status()
    assert client.transfers() == node.transfers()
    assert client.order(TransferVerb.PAUSE, ["/a"]).count == 1
    assert node.asked[-1] == ("pause", "/a")
    assert client.members(created.name) == node.members(created.name)
    assert client.invite(created.name, "reader", 60.0) == node.tickets[0]
    assert client.join(node.tickets[0]).name.startswith("Joined")
    assert client.free(["/a", "/b"]).files == 2
    client.stop()
    assert node.stopped.is_set()


def test_a_transfer_can_not_be_told_anything_else(http: httpx.Client) -> None:
    answer = http.post("/v1/transfers/hurry", json={"paths": []})
    assert (answer.status_code, answer.json()["error"]) == (400, "BadArgument")


def test_every_user_error_crosses_the_api_unchanged(client: Client, node: FakeNode) -> None:
    kinds = [kind for kind in UserError.__subclasses__() if kind.__module__ == errors.__name__]
    assert kinds
    for kind in kinds:
        node.fails_with = kind("What happened, and what to do.")
        with pytest.raises(kind, match=r"^What happened, and what to do\.$") as caught:
            client.spaces()
        assert type(caught.value) is kind


def test_an_error_of_a_later_version_keeps_its_sentence() -> None:
    error = error_of(Failure("FromTheFuture", "Do this.", 99))
    assert isinstance(error, NodeFailed)
    assert str(error) == "Do this."


def test_a_failure_tells_class_sentence_and_exit_code() -> None:
    assert failure_of(DiskFull("Full.")) == Failure("DiskFull", "Full.", 6)


def test_a_bug_in_the_node_is_told_and_logged(
    client: Client, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.fails_with = ZeroDivisionError("inner matters")
    with pytest.raises(NodeFailed, match="ZeroDivisionError") as caught:
        client.status()
    assert "inner matters" not in str(caught.value)
    assert "inner matters" in caplog.text
    node.fails_with = None
    assert client.status().person == "Anna"


def test_fitting_statuses_are_answered(http: httpx.Client, node: FakeNode) -> None:
    assert http.get("/v1/members", params={"space": "Nowhere"}).status_code == 404
    assert http.get("/v1/members").status_code == 400
    assert http.post("/v1/memberships", json={"ticket": "sharefs1x"}).status_code == 400
    node.fails_with = DiskFull("Full.")
    answer = http.get("/v1/status")
    assert answer.status_code == 507
    assert answer.json() == {"error": "DiskFull", "sentence": "Full.", "exit_code": 6}


def test_a_body_of_the_wrong_shape_is_refused(http: httpx.Client) -> None:
    shapes = [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "a", "more": 1}', b'{"name": "\xff"}']
    for body in shapes:
        answer = http.post("/v1/spaces", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"] == "BadArgument"


def test_a_body_without_end_is_refused(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharefs.web.api.BODY_SIZE_BYTES_MAX", 100)
    answer = http.post("/v1/spaces", content=msgspec.json.encode({"name": "x" * 200}))
    assert answer.json()["error"] == "BadArgument"


def test_a_fetch_streams_until_it_has_finished(client: Client, node: FakeNode) -> None:
    with client.fetch(["/a", "/b", "/c"]) as steps:
        done = [step.bytes_done for step in steps]
    assert done == [FILE_SIZE_BYTES, 2 * FILE_SIZE_BYTES, 3 * FILE_SIZE_BYTES]
    assert node.asked == [("/a", "/b", "/c")]


def test_a_fetch_that_can_not_begin_says_why(client: Client, node: FakeNode) -> None:
    node.fails_with = NoSuchSpace("No such space.")
    with pytest.raises(NoSuchSpace), client.fetch(["/a"]):
        pass


def test_the_end_of_a_fetch_is_told_at_once(
    client: Client, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The step after the first would come after this time.
    monkeypatch.setattr("sharefs.web.api.PROGRESS_INTERVAL_S_MIN", 1e6)
    node.endless_fetches = True
    with client.fetch(["/a"]) as steps:
        assert not next(steps).finished
        node.jobs[0].finish()
        assert next(steps).finished


def test_leaving_a_fetch_cancels_it(client: Client, node: FakeNode) -> None:
    node.endless_fetches = True
    with client.fetch(["/a"]) as steps:
        next(steps)
        assert not node.jobs[0].cancelled.is_set()
    assert node.jobs[0].cancelled.wait(WAIT_S_MAX)


def test_stopping_the_server_ends_a_fetch_with_a_sentence(
    client: Client, node: FakeNode, server: ApiServer
) -> None:
    node.endless_fetches = True
    with client.fetch(["/a"]) as steps:
        next(steps)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        with pytest.raises(NodeNotRunning, match="going down"):
            for _step in steps:
                pass
    stopper.join(WAIT_S_MAX)
    assert not stopper.is_alive()
    assert node.jobs[0].cancelled.is_set()


def test_conflicts_are_listed_and_settled(client: Client, node: FakeNode) -> None:
    node.names = ["Family", "Work"]
    reports = [node.fall_out("Family"), node.fall_out("Work")]
    assert client.conflicts() == reports
    assert client.conflicts("Work") == reports[1:]
    with pytest.raises(NoSuchSpace):
        client.conflicts("Nowhere")
    assert client.resolve(reports[0].path, "both").kept == [reports[0].path]
    assert node.asked == [(reports[0].path, "both")]
    with pytest.raises(NoConflict):
        client.resolve(reports[0].path, "both")


def test_peers_are_listed(client: Client, node: FakeNode) -> None:
    assert client.peers() == []
    bob = PeerReport("Bob", "laptop", "ab", True, "", "", None, 0.0, 1e6, 0.5, 2, None)
    node.known_peers.append(bob)
    assert client.peers() == [bob]


def test_settings_are_listed_and_chosen(client: Client, node: FakeNode) -> None:
    assert client.settings() == node.settings()
    (made,) = client.set_setting("bandwidth down", "5M", space="Family", hours="8-18")
    assert (made.value, made.space, made.hours, made.peer) == ("5M", "Family", "8-18", "")
    assert client.settings()[-1] == made
    with pytest.raises(BadArgument, match="off for no limit"):
        client.set_setting("bandwidth down", "fast")


def test_events_come_as_they_happen(client: Client, node: FakeNode) -> None:
    node.names = ["Family"]
    with client.events() as events:
        arose = node.fall_out("Family")
        assert next(events) == ConflictEvent(arose)
        node.resolve(arose.path, "winner")
        assert next(events) == SettledEvent("Family", arose.item)
        assert not node.listeners[0].closed.is_set()
    assert node.listeners[0].closed.wait(WAIT_S_MAX)


def test_events_that_can_not_be_told_say_why(client: Client, node: FakeNode) -> None:
    node.fails_with = NodeFailed("Too many listen.")
    with pytest.raises(NodeFailed, match="Too many"), client.events():
        pass


def test_stopping_the_server_ends_the_events(
    client: Client, node: FakeNode, server: ApiServer
) -> None:
    with client.events() as events:
        server.stop()
        assert list(events) == []
        assert node.listeners[0].closed.wait(WAIT_S_MAX)
        node.listeners[0].wake()


def test_only_the_user_can_open_the_socket(server: ApiServer, socket_file: Path) -> None:
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600


def test_a_dead_nodes_socket_is_replaced(node: FakeNode, socket_file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_file))
    with pytest.raises(NodeNotRunning):
        Client(socket_file)
    server = ApiServer(node, socket_file)
    server.start()
    with Client(socket_file) as client:
        assert client.status().person == "Anna"
    server.stop()


def test_a_file_in_the_sockets_place_is_left_alone(node: FakeNode, socket_file: Path) -> None:
    socket_file.write_text("mine")
    with pytest.raises(HomeNotUsable, match="in the way"):
        ApiServer(node, socket_file).start()
    assert socket_file.read_text() == "mine"


def test_a_socket_with_too_long_a_path_is_told_of(node: FakeNode, tmp_path: Path) -> None:
    server = ApiServer(node, tmp_path / ("x" * 120))
    with pytest.raises(HomeNotUsable, match="shorter"):
        server.start()
    server.stop()


def test_stopping_removes_the_socket_and_may_be_repeated(
    server: ApiServer, socket_file: Path
) -> None:
    server.stop()
    assert not socket_file.exists()
    server.stop()
    with pytest.raises(NodeNotRunning, match="sharefs up"):
        Client(socket_file)


def test_the_environments_proxies_do_not_come_between(
    server: ApiServer, socket_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Client(socket_file) as client:
        assert client.status().person == "Anna"


def test_a_name_that_is_not_utf8_is_told_of(client: Client) -> None:
    with pytest.raises(NameNotText, match="udcff"):
        client.members("\udcff")
    with pytest.raises(NameNotText), client.fetch(["/\udcff"]):
        pass


def test_a_used_ticket_is_told_of(client: Client) -> None:
    with pytest.raises(TicketNotValid, match="used before"):
        client.join("sharefs1gone")


def test_a_node_that_goes_down_as_it_is_asked_to_answers_before(socket_file: Path) -> None:
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as hasty:
        hasty.bind(str(socket_file))
        hasty.listen()

        def answer() -> None:
            hasty.accept()[0].close()
            connection, _ = hasty.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull")

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(socket_file) as client:
            client.stop()
        thread.join(WAIT_S_MAX)
    # A body would be sent after it, maybe to nobody any more.
    assert b"Content-Length: 0\r\n" in asked[0]


def test_what_is_not_our_node_is_told_of(socket_file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(socket_file))
        stranger.listen()

        def answer() -> None:
            # The first connection is the client's look at whether anybody is there.
            stranger.accept()[0].close()
            connection, _ = stranger.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(socket_file) as client, pytest.raises(NodeFailed, match="another version"):
            client.status()
        thread.join(WAIT_S_MAX)
