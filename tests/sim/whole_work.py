"""What do programs do in the mounts of whole nodes, and what are they promised?

They call the mount's Core as the kernel does. A program that has closed a file it wrote was told
that its bytes are safe: from then on they have to be somewhere, until some program that could see
them writes something else there, or removes them.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sharefs.errors import NoHolderOnline, UserError
from sharefs.mount.attributes import ROOT_INO
from sharefs.mount.core import Core
from sharefs.mount.errnos import Refusal
from sharefs.mount.files import Handle
from sharefs.records.content import (
    chunk_id,
    content_id,
    encode_manifest,
    make_manifest,
)
from sharefs.records.entry import EntryType
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown
from tests.sim.agenda import Agenda
from tests.sim.whole_node import WholeDevice

NAMES = ("a", "A", "b.txt", "report.odt", "report (Bob).odt", ".goutputstream-X", "folder", "a~")
SIZES_BYTES = (1, 100, 100, 5_000, 70_000)
EDIT_SECONDS = (0.0, 0.0, 0.0, 0.5, 6.0)
SPACE = "Family"


@dataclass
class Promises:
    """What was saved, by content, and what was given up since."""

    bytes: dict[ContentId, bytes] = field(default_factory=dict)
    saved: dict[ContentId, str] = field(default_factory=dict)
    given_up: set[ContentId] = field(default_factory=set)


class WholePrograms:
    """All programs on all devices."""

    def __init__(self, agenda: Agenda, chance: random.Random) -> None:
        self._agenda = agenda
        self._chance = chance
        self.promises = Promises()
        self._written: dict[tuple[str, int], ContentId] = {}
        """By device and inode: what was written there last."""

    def act(self, device: WholeDevice) -> None:
        """Some program does something there."""
        kinds = (
            self._make_folder,
            self._make_link,
            self._create,
            self._create,
            self._edit,
            self._edit,
            self._edit,
            self._rename,
            self._rename,
            self._remove,
            self._touch,
            self._read,
            self._free,
        )
        self._do(device, self._chance.choice(kinds))

    def read(self, device: WholeDevice) -> None:
        """Some program reads a file."""
        self._do(device, self._read)

    def _do(self, device: WholeDevice, deed: Callable[[WholeDevice, Core], str]) -> None:
        node = device.node
        if node is None or not hasattr(node, "core"):
            return

        def do() -> None:
            try:
                words = deed(device, node.core)
            except (UserError, Refusal, FileNotFoundError) as error:
                words = f"{deed.__name__}: {type(error).__name__} {error}"
            self._note(f"{device.name}: {words}")

        device.guarded(do)

    def _note(self, sentence: str) -> None:
        if self._agenda.trace is not None:
            self._agenda.note(sentence)

    # --- what is there --------------------------------------------------------------------------

    def _top(self, core: Core) -> int:
        return core.lookup(ROOT_INO, SPACE).ino

    def _listing(self, core: Core) -> list[tuple[int, str, int]]:
        """(folder, name, inode) of all that is shown, two levels deep."""
        top = self._top(core)
        found = [(top, name, each.ino) for name, each in sorted(core.children(top))]
        for _, _, ino in list(found):
            if self._is_folder(core, ino):
                found += [(ino, name, each.ino) for name, each in sorted(core.children(ino))]
        return found

    def _is_folder(self, core: Core, ino: int) -> bool:
        try:
            return core.getattr(ino).mode & 0o170000 == 0o040000
        except UserError:
            return False

    def _any(self, core: Core) -> tuple[int, str, int]:
        found = self._listing(core)
        if not found:
            raise FileNotFoundError
        return self._chance.choice(found)

    def _any_folder(self, core: Core) -> int:
        folders = [ino for _, _, ino in self._listing(core) if self._is_folder(core, ino)]
        return self._chance.choice([self._top(core), self._top(core), *folders])

    def _any_name(self) -> str:
        return self._chance.choice(NAMES)

    def _shows(self, device: WholeDevice, ino: int) -> ContentId | None:
        """The content that a program sees there."""
        assert device.node is not None, "whoever looks is awake"
        draft = device.node.core._overlay.draft(ino)
        if draft is not None:
            return _content_of(draft.bytes.path.read_bytes()) if draft.bytes.path.exists() else None
        row = device.node.desk.entry(ino)
        return row.content if row is not None else None

    def _gives_up(self, device: WholeDevice, ino: int) -> None:
        content = self._shows(device, ino)
        if content is not None:
            self.promises.given_up.add(content)

    def _gives_up_written(self, device: WholeDevice, ino: int) -> None:
        """While it waited, another program may have written there."""
        content = self._written.get((device.name, ino))
        if content is not None:
            self.promises.given_up.add(content)

    # --- deeds ----------------------------------------------------------------------------------

    def _make_folder(self, device: WholeDevice, core: Core) -> str:
        folder, name = self._any_folder(core), self._any_name()
        core.mkdir(folder, name)
        return f"mkdir {name}"

    def _make_link(self, device: WholeDevice, core: Core) -> str:
        folder, name = self._any_folder(core), self._any_name()
        core.symlink(folder, name, self._any_name())
        return f"ln {name}"

    def _create(self, device: WholeDevice, core: Core) -> str:
        folder, name = self._any_folder(core), self._any_name()
        handle = core.create(folder, name, 0o644, os.O_RDWR)
        return f"opens {name}: {self._save_later(device, core, handle)}"

    def _edit(self, device: WholeDevice, core: Core) -> str:
        _, name, ino = self._any(core)
        return f"opens {name}: {self._save_later(device, core, core.open(ino, os.O_RDWR))}"

    def _save_later(self, device: WholeDevice, core: Core, handle: Handle) -> str:
        seen = self._shows(device, handle.ino)
        seconds = self._chance.choice(EDIT_SECONDS)
        if not seconds:
            return self._save(device, core, handle, seen)
        node = device.node

        def save() -> None:
            if device.node is node:
                self._do(device, lambda device, core: self._save(device, core, handle, seen))

        self._agenda.later(seconds, save)
        return "saves later"

    def _save(self, device: WholeDevice, core: Core, handle: Handle, seen: ContentId | None) -> str:
        """Write all of it anew, and close it. What it replaces is what there was when it was
        opened, and what other programs here have written into the same file since and not shared
        yet."""
        data = self._chance.randbytes(8) * (self._chance.choice(SIZES_BYTES) // 8 + 1)
        content = _content_of(data)
        assert content is not None, "there are bytes"
        self.promises.bytes[content] = data
        try:
            if core._overlay.draft(handle.ino) is not None:
                self._gives_up(device, handle.ino)
            if seen is not None:
                self.promises.given_up.add(seen)
            core.truncate_open(handle, 0)
            core.write(handle, 0, data)
            self._written[device.name, handle.ino] = content
        finally:
            core.release(handle)
        if not handle.orphaned:
            self.promises.saved[content] = device.name
        return f"saves {content.hex()[:8]} as {handle.ino}"

    def _rename(self, device: WholeDevice, core: Core) -> str:
        folder, name, ino = self._any(core)
        to = folder if self._chance.random() < 0.5 else self._any_folder(core)
        to_name = self._chance.choice((name, name.swapcase(), self._any_name()))
        self._await_settled(core, ino)
        there = core._listing.find_or_none(to, to_name)
        if there is not None:
            self._gives_up(device, there.ino)
        core.rename(folder, name, to, to_name)
        if there is not None:
            self._gives_up_written(device, there.ino)
        return f"mv {name} {to_name}"

    def _await_settled(self, core: Core, ino: int) -> None:
        """What a rename or a removal would wait for comes first: another member's file may get
        the name meanwhile, and is what a name then means."""
        draft = core._overlay.draft(ino)
        if draft is not None and draft.busy:
            core._overlay.await_settled(draft)

    def _remove(self, device: WholeDevice, core: Core) -> str:
        folder, name, ino = self._any(core)
        self._await_settled(core, ino)
        ino = core.lookup(folder, name).ino
        if self._is_folder(core, ino):
            core.rmdir(folder, name)
        else:
            self._gives_up(device, ino)
            core.unlink(folder, name)
            self._gives_up_written(device, ino)
        return f"rm {name}"

    def _touch(self, device: WholeDevice, core: Core) -> str:
        _, name, ino = self._any(core)
        core.utimens(ino, (self._chance.randrange(1000), 0))
        return f"touch {name}"

    def _read(self, device: WholeDevice, core: Core) -> str:
        _, name, ino = self._any(core)
        row = device.node.desk.entry(ino) if device.node is not None else None
        if row is None or row.type is not EntryType.FILE or core._overlay.draft(ino) is not None:
            return f"does not read {name}"
        try:
            self._check_read(core, row)
        except NoHolderOnline:
            return f"could not read {name}"
        return f"reads {name}"

    def _free(self, device: WholeDevice, core: Core) -> str:
        assert device.node is not None, "who frees is awake"
        rows = [device.node.desk.entry(ino) for _, _, ino in self._listing(core)]
        freed = device.node.freeing.free(
            [row for row in rows if row is not None and row.type is EntryType.FILE]
        )
        return f"frees {freed.files} files, and not {len(freed.refused)}"

    def _check_read(self, core: Core, row: Shown) -> None:
        handle = core.open(row.ino, os.O_RDONLY)
        try:
            seen = handle.seen
            data = core.read(handle, 0, 1 << 20)
        finally:
            core.release(handle)
        if seen is not None and handle.draft is None and seen.content is not None:
            known = self.promises.bytes.get(seen.content)
            assert data == known, f"other bytes than were written in {row.shown}"

    # --- at the end -----------------------------------------------------------------------------

    def read_everything(
        self, device: WholeDevice, is_honestly_held: Callable[[Shown], bool]
    ) -> None:
        """When all is well, every file can be read everywhere, if somebody has it who was always
        believed."""
        node = device.node
        assert node is not None, "everybody is awake"

        def read() -> None:
            rows = [node.desk.entry(ino) for _, _, ino in self._listing(node.core)]
            for row in rows:
                if row is not None and row.type is EntryType.FILE:
                    try:
                        self._check_read(node.core, row)
                    except NoHolderOnline:
                        assert not is_honestly_held(row), f"{row.shown} can not be read"

        device.guarded(read)


def _content_of(data: bytes) -> ContentId | None:
    """Of a file that is one chunk."""
    if not data:
        return None
    return content_id(encode_manifest(make_manifest([(chunk_id(data), len(data))])))
