"""Which of the choices made for files and folders speak of an entry? The nearest: the one for
itself, else for the folder it is in, and so on up to its space, and to everything. Any thread."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from sharefs.node.settings import EVERYTHING, Scope, of_space
from sharefs.records.ids import ROOT, ItemId, SpaceId
from sharefs.records.shown import Shown
from sharefs.store.view import ReadView

Value = TypeVar("Value")


def scope_of(space: SpaceId, item: ItemId) -> Scope:
    """Of an entry; a space's top folder stands for the space."""
    return of_space(space) if item == ROOT else Scope(space=space.hex(), item=item.hex())


def scopes(view: ReadView, row: Shown, space: SpaceId) -> Iterator[Scope]:
    """Of an entry and all that it is in, the nearest first."""
    at: Shown | None = row
    while at is not None and at.item != ROOT:
        yield scope_of(space, at.item)
        at = view.entry(view.folder(at))
    yield of_space(space)
    yield EVERYTHING


def nearest(
    chosen: Mapping[Scope, Value], view: ReadView, row: Shown, space: SpaceId
) -> Value | None:
    """What was chosen for an entry, or for what it is in."""
    if any(scope.item for scope in chosen):
        around = scopes(view, row, space)
    else:
        around = iter((of_space(space), EVERYTHING))
    return next((chosen[scope] for scope in around if scope in chosen), None)
