from sharefs.mesh.events import Channel, LinkDown, LinkUp
from sharefs.mesh.links import Links
from sharefs.records.ids import PublicKey

KEY = PublicKey(bytes(32))
FIRST, SECOND = b"instance", b"restarts"
CONTROL, BULK = Channel.CONTROL, Channel.BULK


def taken(links: Links) -> list[type]:
    events, links.events = links.events, []
    assert all(event.key == KEY for event in events)
    return [type(event) for event in events]


def test_the_first_control_link_is_up_and_the_last_is_down() -> None:
    links = Links()
    links.line_changed(KEY, True)
    assert taken(links) == [LinkUp]
    links.greeted(KEY, CONTROL, b"route", FIRST)
    links.line_changed(KEY, False)
    assert taken(links) == []
    assert links.linked(KEY)
    links.route_lost(KEY, CONTROL, b"route")
    assert taken(links) == [LinkDown]
    assert not links.linked(KEY)


def test_a_bulk_route_alone_is_no_link() -> None:
    links = Links()
    links.greeted(KEY, BULK, b"route", FIRST)
    assert taken(links) == []
    assert links.route(KEY, BULK) == b"route"
    assert links.route(KEY, CONTROL) is None


def test_a_newer_route_replaces_the_older_and_says_so() -> None:
    links = Links()
    links.greeted(KEY, CONTROL, b"older", FIRST)
    links.greeted(KEY, CONTROL, b"newer", FIRST)
    assert taken(links) == [LinkUp, LinkDown, LinkUp]
    links.route_lost(KEY, CONTROL, b"older")
    assert taken(links) == []
    assert links.routes(CONTROL) == [(KEY, b"newer")]


def test_a_restart_is_told_although_our_own_line_still_seems_up() -> None:
    links = Links()
    links.line_changed(KEY, True)
    links.greeted(KEY, CONTROL, b"older", FIRST)
    taken(links)
    links.greeted(KEY, CONTROL, b"newer", SECOND)
    assert taken(links) == [LinkDown, LinkUp]
    links.line_changed(KEY, False)
    links.line_changed(KEY, True)
    assert taken(links) == []


def test_a_restart_that_shows_first_on_the_bulk_socket_forgets_the_old_control_route() -> None:
    links = Links()
    links.greeted(KEY, CONTROL, b"older", FIRST)
    taken(links)
    links.greeted(KEY, BULK, b"bulk", SECOND)
    assert taken(links) == [LinkDown]
    links.greeted(KEY, CONTROL, b"newer", SECOND)
    assert taken(links) == [LinkUp]


def test_nothing_is_kept_of_peers_that_are_gone() -> None:
    links = Links()
    links.line_changed(KEY, False)
    links.greeted(KEY, BULK, b"route", FIRST)
    links.route_lost(KEY, BULK, b"route")
    assert links.routes(BULK) == []
    assert links.route(KEY, BULK) is None
