"""Who waits for which bytes?"""

from sharefs.errors import NoHolderOnline, UserError
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.books import Books
from sharefs.transfer.content import MISFIT, Content


class Wants:
    """What the node's programs and people want, and want no more."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def handle(self, event: events.WantEvent, now: float) -> None:
        """Somebody waits, or does no more."""
        match event:
            case events.Wanted():
                self._wanted(event, now)
            case events.Unwanted(waiter):
                content_id = self._books.content_of.pop(waiter, None)
                if content_id is not None:
                    self._books.contents[content_id].drop_waiter(waiter)
                    self._books.touch(content_id)
            case events.Paused(waiter) | events.Resumed(waiter):
                content_id = self._books.content_of.get(waiter)
                if content_id is not None:
                    held = isinstance(event, events.Paused)
                    self._books.contents[content_id].hold(waiter, held=held)
                    self._books.touch(content_id)
            case events.Cancelled(content_id, error):
                content = self._books.contents.get(content_id)
                if content is not None and content.waiters:
                    self._books.in_vain.refuse(content_id, error, now)
                    self._books.fail(content, list(content.waiters), error)
                    self._books.touch(content_id)

    def _wanted(self, event: events.Wanted, now: float) -> None:
        if max(event.start, 0) >= min(event.end, event.size):
            self._books.do(effects.Satisfied(event.waiter))
            return
        content = self._books.contents.get(event.content)
        if content is None:
            content = Content(event.content, event.space, event.size, self._books.me)
            self._books.contents[event.content] = content
        if content.layout is None and event.manifest is not None:
            content.lay_out(event.manifest)
        if content.layout is not None:
            content.keep(bitmap.from_bytes(event.have), event.coming)
        content.keeping_manifest |= event.looks
        content.add_waiter(event)
        self._books.content_of[event.waiter] = event.content
        if event.size != content.size or not content.fits:
            self._books.fail(content, [event.waiter], NoHolderOnline(MISFIT))
        elif not event.held and (error := self._in_vain(content, event.waiter, now)):
            self._books.fail(content, [event.waiter], error)
        self._books.touch(event.content)

    def _in_vain(self, content: Content, waiter: int, now: float) -> UserError | None:
        return self._books.in_vain.error(content, waiter, self._books.peers, now)
