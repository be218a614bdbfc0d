"""What does the machine know, what is it to look at again, and what does it want done?

What the parts of the machine share: `wants`, `devices` and `arrivals` write down here what
happened, `stages` where each content stands; `machine` looks at what they touched.
"""

from collections.abc import Callable

from sharefs.errors import UserError
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import effects
from sharefs.transfer.content import Content
from sharefs.transfer.effects import Effect
from sharefs.transfer.peers import Distrust, Peer
from sharefs.transfer.schedule import Schedule
from sharefs.transfer.timers import Timers
from sharefs.transfer.vain import InVain


class Books:
    """The contents that are wanted, the devices that are online, and who waits for what."""

    def __init__(self, me: DeviceId, name_of: Callable[[DeviceId], str]) -> None:
        self.me = me
        self.name_of = name_of
        self.peers: dict[DeviceId, Peer] = {}
        self.contents: dict[ContentId, Content] = {}
        self.content_of: dict[int, ContentId] = {}
        """For each waiter."""
        self.distrust = Distrust()
        self.in_vain = InVain()
        self.schedule = Schedule(self.peers)
        self.touched: dict[ContentId, None] = {}
        """Contents to be looked at before `handle` returns."""
        self.hungry: dict[DeviceId, None] = {}
        """Devices that may be asked for more before `handle` returns."""
        self.content_timers: Timers[ContentId] = Timers()
        self.peer_timers: Timers[DeviceId] = Timers()
        self._effects: list[Effect] = []

    def touch(self, content: ContentId) -> None:
        """Something changed about a content."""
        self.touched[content] = None

    def do(self, effect: Effect) -> None:
        """This is to be done, after what is to be done already."""
        self._effects.append(effect)

    def take_effects(self) -> list[Effect]:
        """What is to be done."""
        taken, self._effects = self._effects, []
        return taken

    def satisfy(self, content: Content, waiters: list[int]) -> None:
        """What these waiters wanted can be read."""
        for number in waiters:
            del content.waiters[number]
            del self.content_of[number]
            self.do(effects.Satisfied(number))

    def fail(self, content: Content, waiters: list[int], error: UserError) -> None:
        """These wait in vain."""
        for number in waiters:
            content.drop_waiter(number)
            del self.content_of[number]
            self.do(effects.Failed(number, error))

    def leave(self, content: Content, device: DeviceId) -> None:
        """Expect nothing more of a device."""
        asked = content.asks.pop(device, None)
        peer = self.peers.get(device)
        if peer and asked and not asked.answered:
            peer.questions -= 1
        content.holders.pop(device, None)
        for index in content.awaited_from(device):
            content.unrequest(index, device)
            if peer:
                peer.flow.forget((content.id, index))
        if content.waiters:
            self.touch(content.id)

    def caught(self, device: DeviceId, content: Content, sentence: str) -> None:
        """A device sent something else: never again ask it about this content."""
        self.leave(content, device)
        if device in self.distrust.of(content.id):
            return
        self.distrust.add(content.id, device)
        if peer := self.peers.get(device):
            peer.failures += 1
        told = f"{self.name_of(device)} {sentence}. It was dropped, and is fetched elsewhere."
        self.do(effects.Report(device, told, content.id))
