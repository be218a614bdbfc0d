"""The home: where everything is, and who may use it."""

import multiprocessing
import os
from pathlib import Path

import pytest

from sharefs.errors import AlreadyInitialised, HomeNotUsable, NodeAlreadyRunning, NotInitialised
from sharefs.store.home import SOCKET_PATH_SIZE_BYTES_MAX, Home

AS_ROOT = os.getuid() == 0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


def test_everything_is_under_a_home_that_was_given(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    for path in (
        home.identity_file,
        home.token_file,
        home.database_file,
        home.contents_folder,
        home.drafts_folder,
        home.socket_file,
        home.log_file,
        home.lock_file,
        home.mount_default,
    ):
        assert path.is_relative_to(tmp_path / "home")
    assert home.mount_default.name == "My Shared Spaces"
    assert not (tmp_path / "home").exists()


def test_without_a_folder_the_system_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG", "DATA", "RUNTIME"):
        key = f"XDG_{name}_DIR" if name == "RUNTIME" else f"XDG_{name}_HOME"
        monkeypatch.setenv(key, str(tmp_path / name))
    home = Home.at(None)
    assert home.identity_file.is_relative_to(tmp_path / "CONFIG")
    assert home.database_file.is_relative_to(tmp_path / "DATA")
    assert home.socket_file.is_relative_to(tmp_path / "RUNTIME")
    assert home.directory.is_relative_to(tmp_path / "DATA")


def test_the_token_is_not_where_a_backup_of_the_data_would_find_it(home: Home) -> None:
    assert not home.token_file.is_relative_to(home.data_folder)


def test_folders_are_for_this_user_alone(home: Home) -> None:
    for folder in (home.config_folder, home.contents_folder, home.drafts_folder):
        assert folder.stat().st_mode & 0o777 == 0o700
    home.data_folder.chmod(0o755)
    home.prepare()
    assert home.data_folder.stat().st_mode & 0o777 == 0o700


def test_the_modes_of_the_given_folder_itself_are_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home.at(tmp_path).prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_home_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HomeNotUsable, match="--home"):
        Home.at(tmp_path / "file").prepare()


@pytest.mark.skipif(AS_ROOT, reason="everything is writable for root")
def test_a_home_that_can_not_be_written_is_told(home: Home) -> None:
    home.directory.chmod(0o500)
    try:
        with pytest.raises(HomeNotUsable):
            Home.at(home.directory / "inner").prepare()
    finally:
        home.directory.chmod(0o700)


@pytest.mark.skipif(not AS_ROOT, reason="takes root to give a folder away")
def test_a_folder_of_somebody_else_is_refused(home: Home) -> None:
    os.chown(home.drafts_folder, 12345, -1)
    with pytest.raises(HomeNotUsable, match="another user"):
        home.prepare()


def test_a_long_path_gets_a_short_socket_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    homes = [Home.at(deep / name) for name in ("one", "two")]
    sockets = [home.socket_file for home in homes]
    assert len(set(sockets)) == 2
    assert sockets == [home.socket_file for home in homes]
    for path in sockets:
        assert len(os.fsencode(path)) <= SOCKET_PATH_SIZE_BYTES_MAX
        assert not path.is_relative_to(deep)
    homes[0].prepare()
    assert sockets[0].parent.stat().st_mode & 0o777 == 0o700
    sockets[0].parent.rmdir()


def test_an_identity_is_written_once(home: Home) -> None:
    with pytest.raises(NotInitialised, match="sharefs init"):
        home.read_identity()
    home.write_identity(b"secret")
    assert home.read_identity() == b"secret"
    assert home.identity_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(AlreadyInitialised):
        home.write_identity(b"another")
    assert home.read_identity() == b"secret"
    assert [path.name for path in home.config_folder.iterdir()] == ["identity"]


def test_an_identity_that_another_init_made_just_now_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_identity(b"secret")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(AlreadyInitialised):
        home.write_identity(b"another")
    assert home.read_identity() == b"secret"


def test_reading_an_identity_where_there_is_no_home_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised):
        Home.at(tmp_path / "nowhere").read_identity()


def _lock(directory: Path, outcome: "multiprocessing.Queue[str]") -> None:
    try:
        Home.at(directory).lock().release()
        outcome.put("locked")
    except NodeAlreadyRunning as error:
        outcome.put(str(error))


def _lock_elsewhere(home: Home) -> str:
    context = multiprocessing.get_context("spawn")
    outcome: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_lock, args=(home.directory, outcome))
    process.start()
    answer = outcome.get(timeout=30)
    process.join()
    return answer


def test_one_process_holds_a_home(home: Home) -> None:
    held = home.lock()
    assert str(os.getpid()) in _lock_elsewhere(home)
    with pytest.raises(NodeAlreadyRunning):
        home.lock()
    held.release()
    held.release()
    assert _lock_elsewhere(home) == "locked"


def test_where_the_mount_was_last_is_remembered_and_nonsense_is_not(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    assert home.last_mount() is None
    home.prepare()
    for point in (tmp_path / "Räume", tmp_path / "two\nlines"):
        home.note_mount(point)
        assert Home.at(tmp_path).last_mount() == point
    for nonsense in (b"", b"not/absolute", b"/with\0zero"):
        home.mount_file.write_bytes(nonsense)
        assert home.last_mount() is None
