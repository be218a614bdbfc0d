import base64
from typing import cast

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError, TicketNotValid
from sharefs.records.canonical import encode
from sharefs.records.ids import PublicKey
from sharefs.spaces.identity import (
    curve_public_key,
    decode_identity,
    encode_identity,
    verify_certificate,
)
from sharefs.spaces.limits import TICKET_PREFIX, TICKET_SIZE_BYTES_MAX
from sharefs.spaces.ticket import (
    Ticket,
    read_ticket,
    ticket_curve_key,
    write_ticket,
)
from tests.shapes import faults, values
from tests.spaces.space_people import ANNA, BOB

tickets = cast("st.SearchStrategy[Ticket]", values(Ticket))


@given(tickets)
def test_a_ticket_is_read_as_it_was_written(ticket: Ticket) -> None:
    text = write_ticket(ticket)
    assert read_ticket(text) == ticket
    assert text.isascii()
    assert " " not in text


@given(tickets, st.integers(1, 60))
def test_a_ticket_survives_being_wrapped_by_a_mail_program(ticket: Ticket, width: int) -> None:
    text = write_ticket(ticket)
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    assert read_ticket("\n  " + " \r\n\t".join(lines) + "\n") == ticket


@given(tickets, st.integers(0, 10_000), st.characters())
def test_a_slip_in_copying_is_noticed(ticket: Ticket, place: int, character: str) -> None:
    text = write_ticket(ticket)
    place %= len(text)
    garbled = text[:place] + character + text[place + 1 :]
    if garbled == text or character.isspace():
        return
    try:
        # The last letter has bits that mean nothing.
        assert read_ticket(garbled) == ticket
        assert place == len(text) - 1
    except TicketNotValid:
        pass


@given(tickets, st.integers(0, 10_000))
def test_a_part_of_a_ticket_is_refused(ticket: Ticket, place: int) -> None:
    text = write_ticket(ticket)
    with pytest.raises(TicketNotValid):
        read_ticket(text[: place % len(text)])


@given(st.text() | st.text().map(lambda text: TICKET_PREFIX + text))
def test_any_other_text_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(TicketNotValid, match=r"\."):
        read_ticket(text)


def text_of(payload: bytes) -> str:
    check = blake3(payload).digest(4)
    return TICKET_PREFIX + base64.urlsafe_b64encode(payload + check).decode().rstrip("=")


@given(faults(tickets.map(encode)))
def test_a_ticket_of_another_make_is_refused_and_nothing_else(payload: bytes) -> None:
    try:
        ticket = read_ticket(text_of(payload))
    except TicketNotValid:
        return
    assert encode(ticket) == payload


def test_a_ticket_without_doors_or_too_large_is_refused() -> None:
    for payload in (b"", bytes(TICKET_SIZE_BYTES_MAX + 1)):
        with pytest.raises(TicketNotValid):
            read_ticket(text_of(payload))


def test_a_ticket_s_curve_keys_belong_together() -> None:
    secret = PublicKey(b"s" * 32)
    shaped = msgspec.convert(
        [1, bytes(32), "Family", "Anna", "reader", 0, secret, [[bytes(16), bytes(32), []]]],
        Ticket,
    )
    assert curve_public_key(shaped.curve_secret) == ticket_curve_key(secret)


def test_an_identity_comes_back_from_its_file() -> None:
    again = decode_identity(encode_identity(ANNA))
    assert again.secrets == ANNA.secrets
    assert (again.person, again.device) == (ANNA.person, ANNA.device)
    assert again.person != BOB.person
    verify_certificate(again.certificate)


@given(faults(st.just(encode_identity(ANNA))))
def test_a_damaged_identity_file_is_refused_and_nothing_else(data: bytes) -> None:
    try:
        again = decode_identity(data)
    except RemoteProtocolError:
        return
    assert encode_identity(again) == data


@pytest.mark.parametrize("field", ["person_name", "device_name", "issued", "curve_key"])
def test_a_changed_certificate_is_refused(field: str) -> None:
    other = {"issued": 7, "curve_key": PublicKey(bytes(32))}.get(field, "somebody")
    with pytest.raises(RemoteProtocolError):
        verify_certificate(msgspec.structs.replace(ANNA.certificate, **{field: other}))
    verify_certificate(ANNA.certificate)
