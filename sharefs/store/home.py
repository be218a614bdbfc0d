"""Where does this node keep everything, and may it?"""

import fcntl
import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from sharefs.errors import AlreadyInitialised, HomeNotUsable, NodeAlreadyRunning, NotInitialised
from sharefs.store.whole import sync_folder, write_file

MOUNT_NAME = "My Shared Spaces"
SOCKET_PATH_SIZE_BYTES_MAX = 107
"""Of `sun_path` on Linux, without the final zero."""
_APPLICATION = "sharefs"
_SOCKET_NAME = "api.sock"
_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Home:
    """The files and folders of one node. Nothing is made before `prepare`."""

    directory: Path
    """What a person calls this home: the folder given, or that of the data."""
    config_folder: Path
    data_folder: Path
    runtime_folder: Path
    mount_default: Path

    @staticmethod
    def at(directory: Path | None) -> "Home":
        """All of it under `directory`, or, without one, where the system wants each part."""
        if directory is None:
            data = platformdirs.user_data_path(_APPLICATION)
            return Home(
                data,
                platformdirs.user_config_path(_APPLICATION),
                data,
                _system_runtime_folder(),
                platformdirs.user_documents_path() / MOUNT_NAME,
            )
        home = directory.absolute()
        return Home(home, home / "config", home / "data", home / "run", home / MOUNT_NAME)

    @property
    def identity_file(self) -> Path:
        return self.config_folder / "identity"

    @property
    def reserve_file(self) -> Path:
        """On the disk of the database, and given up for it."""
        return self.data_folder / "reserve"

    @property
    def token_file(self) -> Path:
        """Not beside the database, so that it is not restored along with it."""
        return self.config_folder / "database-token"

    @property
    def database_file(self) -> Path:
        return self.data_folder / "sharefs.db"

    @property
    def contents_folder(self) -> Path:
        return self.data_folder / "contents"

    @property
    def drafts_folder(self) -> Path:
        return self.data_folder / "drafts"

    @property
    def set_aside_folder(self) -> Path:
        """What was damaged, and can not stand where it was. Made when it is needed."""
        return self.data_folder / "set-aside"

    @property
    def log_file(self) -> Path:
        return self.data_folder / "sharefs.log"

    @property
    def mount_file(self) -> Path:
        """Where the node's mount was last, as a path."""
        return self.data_folder / "mount-point"

    @property
    def lock_file(self) -> Path:
        return self.data_folder / "lock"

    @property
    def socket_file(self) -> Path:
        """In the runtime folder; if that makes too long a path, in a short one made from it."""
        usual = self.runtime_folder / _SOCKET_NAME
        if len(os.fsencode(usual)) <= SOCKET_PATH_SIZE_BYTES_MAX:
            return usual
        return self._short_runtime_folder() / _SOCKET_NAME

    def _short_runtime_folder(self) -> Path:
        name = hashlib.blake2b(os.fsencode(self.runtime_folder), digest_size=12).hexdigest()
        system = Path(f"/run/user/{os.getuid()}")
        if system.is_dir():
            return system / f"{_APPLICATION}-{name}"
        return Path(tempfile.gettempdir()) / f"{_APPLICATION}-{os.getuid()}-{name}"

    def prepare(self) -> None:
        """Make the folders, for this user alone. Raises HomeNotUsable."""
        # A folder that was given may be shared with other things, so it is left as it is.
        folders = (
            self.config_folder,
            self.data_folder,
            self.contents_folder,
            self.drafts_folder,
            self.runtime_folder,
            self.socket_file.parent,
        )
        for folder in folders:
            _make_private(folder)

    def read_identity(self) -> bytes:
        """Raises NotInitialised, HomeNotUsable."""
        try:
            return self.identity_file.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotInitialised(
                f"There is no identity in {self.directory} yet: make one with"
                " `sharefs init --name NAME`."
            ) from error
        except OSError as error:
            raise _not_usable(self.identity_file, error) from error

    def write_identity(self, data: bytes) -> None:
        """Once. Raises AlreadyInitialised, HomeNotUsable."""
        if self.identity_file.exists():
            raise AlreadyInitialised(
                f"{self.directory} has an identity, which stays as it is: for another one, give"
                " another folder with --home."
            )
        draft = self.identity_file.with_name("identity.new")
        try:
            write_file(draft, data)
            # Unlike a rename, a link does not replace what another `init` made just now.
            os.link(draft, self.identity_file)
            draft.unlink()
            sync_folder(self.config_folder)
        except FileExistsError as error:
            draft.unlink(missing_ok=True)
            raise AlreadyInitialised(
                f"{self.directory} was given an identity by somebody else just now."
            ) from error
        except OSError as error:
            raise _not_usable(self.identity_file, error) from error

    def last_mount(self) -> Path | None:
        """Where the node's mount is, or was last."""
        try:
            text = os.fsdecode(self.mount_file.read_bytes())
        except OSError:
            return None
        return Path(text) if os.path.isabs(text) and "\0" not in text else None

    def note_mount(self, mount_point: Path) -> None:
        """Raises HomeNotUsable."""
        if self.last_mount() == mount_point:
            return
        try:
            write_file(self.mount_file, os.fsencode(mount_point))
        except OSError as error:
            raise _not_usable(self.mount_file, error) from error

    def lock(self) -> "HeldLock":
        """Hold the home for this process. Raises NodeAlreadyRunning, HomeNotUsable."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _not_usable(self.lock_file, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise NodeAlreadyRunning(
                f"The node of {self.directory} runs already, as process {pid or 'unknown'}: stop"
                " it with `sharefs down`, or give another folder with --home."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return HeldLock(descriptor)


def _system_runtime_folder() -> Path:
    """Without a session of its own (su, cron), a user has none: platformdirs says so as a warning,
    and takes one below the folder for temporary files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path(_APPLICATION)


class HeldLock:
    """The home is this process's, until `release` or its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have the home. Twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise _not_usable(folder, error) from error
    if status.st_uid != os.getuid():
        raise HomeNotUsable(f"{folder} belongs to another user: choose another home with --home.")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise HomeNotUsable(f"{folder} can not be written: choose another home with --home.")
    if status.st_mode & 0o077:
        try:
            folder.chmod(_FOLDER_MODE)
        except OSError as error:
            raise _not_usable(folder, error) from error


def _not_usable(path: Path, error: OSError) -> HomeNotUsable:
    reason = os.strerror(error.errno or 0)
    return HomeNotUsable(
        f"{path} can not be used ({reason}): check the disk and whose it is, or choose another home"
        " with --home."
    )
