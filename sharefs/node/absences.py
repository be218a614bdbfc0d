"""Which devices said lately that they do not hold a content?

So that an entry is shown as unavailable when nobody who is online has its bytes, and not only when
nobody is online. Nobody is asked for the sake of it: what was never wanted here may be held by
anybody. A device may fetch the content later, or say no only because it is about to free it, so
what it said is forgotten soon.
"""

import time

from sharefs.records.ids import ContentId, DeviceId

ABSENCE_SECONDS_MAX = 60.0
CONTENTS_MAX = 4096


class Absences:
    """Heard in the loop, read from any thread. The contents asked for latest are kept."""

    def __init__(self) -> None:
        self._said: dict[ContentId, dict[DeviceId, float]] = {}

    def said(self, device: DeviceId, content: ContentId, *, holds: bool) -> None:
        """A device answered whether it holds some of a content."""
        if holds:
            self._said.get(content, {}).pop(device, None)
            return
        absent = self._said.pop(content, {})
        absent[device] = time.monotonic()
        self._said[content] = absent
        if len(self._said) > CONTENTS_MAX:
            del self._said[next(iter(self._said))]

    def forget(self, device: DeviceId) -> None:
        """It went away: it may come back with anything."""
        for absent in self._said.values():
            absent.pop(device, None)

    def may_hold(self, device: DeviceId, content: ContentId) -> bool:
        """Whether it did not say no lately."""
        said_at = self._said.get(content, {}).get(device)
        return said_at is None or time.monotonic() - said_at > ABSENCE_SECONDS_MAX
