"""Who was told that only some of a content is here, and is to be told of what comes?

Several who fetch a content at the same time are holders for each other, if they hear of what the
others got meanwhile. Whoever asked about a content, and was not offered all of it, is told of the
chunks that came since, some at a time, while it is online and among the latest to have asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer import bitmap
from sharefs.wire.transfer import INDEXES_MAX, Have

TIDINGS_INTERVAL_S = 0.25
"""How often what came is told."""
TOLD_CONTENTS_MAX = 256
TOLD_DEVICES_MAX = 64
"""For each content."""


@dataclass(slots=True)
class _Told:
    space: SpaceId
    chunks: int


class Tidings:
    """What was said to whom about contents that are not all here."""

    def __init__(self) -> None:
        self._told: dict[ContentId, dict[DeviceId, _Told]] = {}

    def offered(self, device: DeviceId, space: SpaceId, content: ContentId, chunks: int) -> None:
        """A device that asked was told that these are here, perhaps none."""
        devices = self._told.pop(content, {})
        self._told[content] = devices
        devices.pop(device, None)
        devices[device] = _Told(space, chunks)
        if len(devices) > TOLD_DEVICES_MAX:
            del devices[next(iter(devices))]
        if len(self._told) > TOLD_CONTENTS_MAX:
            del self._told[next(iter(self._told))]

    def gone(self, device: DeviceId) -> None:
        """It will ask again when it is back."""
        for devices in self._told.values():
            devices.pop(device, None)

    def awaited(self, content: ContentId) -> bool:
        """Whether somebody is to be told of what comes of a content."""
        return bool(self._told.get(content))

    def news(self, content: ContentId, here: int) -> Iterator[tuple[DeviceId, Have]]:
        """What to tell whom of the chunks that are here, each chunk once."""
        for device, told in self._told.get(content, {}).items():
            fresh = bitmap.indexes(here & ~told.chunks)
            told.chunks = here
            while some := tuple(islice(fresh, INDEXES_MAX)):
                yield device, Have(told.space, content, some)
