"""Which commands are there, and what does each of them do?

Each command asks the node through `Client` and shows what it answers; only `init` and `up` work
without a running node.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sharefs import __version__
from sharefs.cli import arguments, background, display
from sharefs.cli.fetching import fetch_and_show
from sharefs.errors import BadArgument, EntryExists, LastCopy, NodeNotRunning
from sharefs.node.options import NodeOptions
from sharefs.node.reports import ConflictReport, SpaceReport
from sharefs.spaces.limits import PERSON_NAME_SIZE_MAX
from sharefs.store.home import Home
from sharefs.web.client import Client

FETCH_FAILED_EXIT_CODE = 1


@dataclass
class Invocation:
    """What is known of one run of the command beside its own arguments."""

    folder: Path | None = None
    """The home that was named, absolute; None for the usual places."""

    @property
    def home(self) -> Home:
        return Home.at(self.folder)


app = typer.Typer(
    name="sharefs",
    help="My Shared Spaces: folders that a group shares without a server.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _note_home(context: typer.Context, folder: Path | None) -> Path | None:
    """The last `--home` wins, wherever it stands, and the environment's comes first."""
    if folder is not None and not context.resilient_parsing:
        _invocation(context).folder = Path(os.path.abspath(folder))
    return folder


def _show_version(wanted: bool) -> None:
    if wanted:
        display.say(f"sharefs {__version__}")
        raise typer.Exit


GlobalHome = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="SHAREFS_HOME",
        callback=_note_home,
        help="Keep all of this node's state in DIR, so that several run side by side.",
    ),
]
LocalHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", callback=_note_home, help="As before the command."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="The space's name.")]
EntryPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        readable=False,
        help="Files or folders in the mount: ./-x for what is called -x.",
    ),
]


@app.callback(invoke_without_command=True)
def sharefs(
    context: typer.Context,
    home: GlobalHome = None,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def init(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="Your name, as other members see it.")],
    device_name: Annotated[
        str | None,
        typer.Option("--device-name", help="This machine's name.", show_default="its own"),
    ] = None,
    home: LocalHome = None,
) -> None:
    """Make your identity on this device."""
    # Cryptography takes its time to load, and no other command needs it here.
    from sharefs.spaces.identity import encode_identity, new_identity

    person = arguments.check_person_name(name, "name")
    machine = device_name if device_name is not None else socket.gethostname()
    device = arguments.check_person_name(
        machine if device_name is not None else machine[:PERSON_NAME_SIZE_MAX], "device's name"
    )
    here = home_of(context)
    here.prepare()
    identity = new_identity(secrets.token_bytes(96), person, device, int(time.time() * 1000))
    here.write_identity(encode_identity(identity))
    display.say(f"You are {person}, on {device}. `sharefs up` starts your node.")


@app.command()
def up(
    context: typer.Context,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, until Ctrl-C.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where to listen.", show_default="as last time"
        ),
    ] = None,
    announce: Annotated[
        str | None,
        typer.Option("--announce", metavar="HOST:PORT", help="Where others reach you instead."),
    ] = None,
    mount: Annotated[
        Path | None,
        # What a killed node has left there can not be read, until the new one has taken it away.
        typer.Option(
            "--mount",
            metavar="DIR",
            readable=False,
            help="Where to show your spaces.",
            show_default="as last time",
        ),
    ] = None,
    no_discovery: Annotated[
        bool, typer.Option("--no-discovery", help="Neither announce nor look for devices nearby.")
    ] = False,
    report: Annotated[int | None, typer.Option("--report", hidden=True)] = None,
    home: LocalHome = None,
) -> None:
    """Start your node and its mount, in the background."""
    here = home_of(context)
    listen, announce = arguments.check_listen(listen), arguments.check_listen(announce)
    # Paths are compared with it, and those are resolved as far as their last part.
    mount = (mount or here.last_mount() or here.mount_default).resolve()
    here.read_identity()
    here.prepare()
    if foreground:
        options = NodeOptions(listen, mount, not no_discovery, announce)
        _run_here(here, options, report)
        return
    told = ["--mount", os.fspath(mount)]
    told += [] if listen is None else ["--listen", listen]
    told += ["--no-discovery"] if no_discovery else []
    told += [] if announce is None else ["--announce", announce]
    command = background.node_command(_invocation(context).folder, told)
    background.start(command, here.log_file)
    with Client(here.socket_file) as client:
        status = client.status()
    display.say(f"Your spaces are at {status.mount}. The node listens on {status.listening}.")
    for notice in status.notices:
        display.complain(notice)


def _run_here(here: Home, options: NodeOptions, report: int | None) -> None:
    # The node and its libraries take their time to load, and no other command needs them.
    from sharefs.cli import foreground
    from sharefs.node.service import Service

    def make_node() -> Service:
        foreground.log_to(here.log_file, also_to_terminal=report is None)
        return Service(here, options)

    if report is not None:
        foreground.serve_reporting(make_node, here.socket_file, report)
    else:
        foreground.serve(
            make_node(),
            here.socket_file,
            lambda: display.complain("The node is up; Ctrl-C ends it."),
        )


@app.command()
def down(context: typer.Context, home: LocalHome = None) -> None:
    """Stop your node, and wait until its mount is gone."""
    here = home_of(context)
    try:
        with _client(here) as client:
            background.stop(client, here.log_file)
    except NodeNotRunning:
        from sharefs.node import mounting

        dead = mounting.take_away_dead(here)
        if dead is None:
            raise
        display.say(f"The node had ended already; its dead mount at {dead} is taken away.")
        return
    display.say("The node is down.")


@app.command()
def status(context: typer.Context, as_json: AsJson = False, home: LocalHome = None) -> None:
    """Show your node at a glance."""
    with _client(home_of(context)) as client:
        report = client.status()
    if as_json:
        display.say_json(report)
        return
    display.say(f"{report.person} on {report.device}, sharefs {report.version}")
    display.say(f"Home: {report.home}")
    display.say(f"Mount: {report.mount}")
    display.say(f"Listening on: {report.listening}")
    display.say(f"Devices online: {report.peers_online}, besides this one")
    display.say(f"Transfers: {report.transfers}")
    if report.spaces:
        _show_spaces(report.spaces)
    for notice in report.notices:
        display.say(f"Note: {notice}")


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new space.")],
    home: LocalHome = None,
) -> None:
    """Make a space, with you as its owner."""
    name = arguments.check_space_name(name)
    with _client(home_of(context)) as client:
        space = client.create_space(name)
    display.say(f"{space.name} is at {space.path}. `sharefs invite` makes tickets to it.")


@app.command()
def invite(
    context: typer.Context,
    space: SpaceName,
    role: Annotated[
        str, typer.Option("--role", help="admin, contributor or reader.")
    ] = "contributor",
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="As 90s, 12h, 7d or 2w.")
    ] = "7d",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the ticket to a file.")
    ] = None,
    home: LocalHome = None,
) -> None:
    """Make a ticket with which one person can join a space."""
    role = arguments.check_role(role)
    expires_s = arguments.parse_duration(expires)
    with _client(home_of(context)) as client:
        if output is None:
            print(client.invite(space, role, expires_s))
        else:
            _write_ticket(output, lambda: client.invite(space, role, expires_s))
            display.complain(f"The ticket is in {output}: hand it to one person only.")


def _write_ticket(path: Path, make: Callable[[], str]) -> None:
    """The file is made before the ticket, so that no ticket is lost to a full or read-only disk."""
    try:
        # Whoever reads the ticket can use it, so nobody else may.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise EntryExists(f"{path} exists already: choose another name.") from error
    except OSError as error:
        raise BadArgument(f"{path} can not be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(make() + "\n")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@app.command()
def join(
    context: typer.Context,
    ticket: Annotated[
        str,
        typer.Argument(
            metavar="TICKET_OR_FILE", help="A ticket, its file, or - for standard input."
        ),
    ],
    home: LocalHome = None,
) -> None:
    """Join the space that a ticket leads to."""
    text = arguments.read_ticket_text(ticket)
    with _client(home_of(context)) as client:
        space = client.join(text)
    display.say(f"You are in {space.name}, as {space.role}. It is at {space.path}.")


@app.command()
def spaces(context: typer.Context, as_json: AsJson = False, home: LocalHome = None) -> None:
    """List your spaces."""
    with _client(home_of(context)) as client:
        reports = client.spaces()
    if as_json:
        display.say_json(reports)
    elif reports:
        _show_spaces(reports)
    else:
        display.complain("No spaces yet: `sharefs create` makes one, `sharefs join` enters one.")


@app.command()
def members(
    context: typer.Context, space: SpaceName, as_json: AsJson = False, home: LocalHome = None
) -> None:
    """List who is in a space."""
    with _client(home_of(context)) as client:
        reports = client.members(space)
    if as_json:
        display.say_json(reports)
        return
    display.say_table(
        ["Name", "Role", "Seen"],
        [
            [
                f"{report.name} (you)" if report.me else report.name,
                report.role,
                ("online" if report.online else display.ago(report.last_seen))
                + (", astray: see `sharefs status`" if report.astray else ""),
            ]
            for report in reports
        ],
    )


@app.command()
def conflicts(
    context: typer.Context,
    space: Annotated[
        str | None, typer.Argument(metavar="SPACE", help="Of this space, and not of all.")
    ] = None,
    as_json: AsJson = False,
    home: LocalHome = None,
) -> None:
    """List files that were changed in two places at once.

    Each with its versions: who wrote them, when, and where they can be read.
    """
    with _client(home_of(context)) as client:
        reports = client.conflicts(space)
    if as_json:
        display.say_json(reports)
    elif reports:
        _show_conflicts(reports)
    else:
        display.complain("Nothing is in conflict.")


@app.command()
def resolve(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", readable=False, help="The file's path, or that of another version."
        ),
    ],
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="WHICH",
            help="winner: what the file's own name shows. loser: the version at PATH, or the only"
            " other. both: all of them, each as a file. Or a version that `conflicts` lists.",
        ),
    ] = None,
    home: LocalHome = None,
) -> None:
    """Settle a conflict, for everybody: what is not kept is gone."""
    if keep is None:
        raise BadArgument(
            "Say what to keep: `--keep` winner, loser, both, or a version that `sharefs conflicts`"
            " lists."
        )
    with _client(home_of(context)) as client:
        report = client.resolve(arguments.absolute(path), keep)
    for kept in report.kept:
        display.say(f"Kept: {kept}")
    if not report.kept:
        display.say("Settled: the file stays deleted.")


@app.command()
def fetch(context: typer.Context, paths: EntryPaths, home: LocalHome = None) -> None:
    """Bring all bytes of files and folders here."""
    with _client(home_of(context)) as client:
        failures = fetch_and_show(client, [arguments.absolute(path) for path in paths])
    if failures:
        raise typer.Exit(FETCH_FAILED_EXIT_CODE)


@app.command()
def free(context: typer.Context, paths: EntryPaths, home: LocalHome = None) -> None:
    """Make room: forget the bytes of files that others hold."""
    with _client(home_of(context)) as client:
        report = client.free([arguments.absolute(path) for path in paths])
    files = display.plural(report.files, "file")
    display.say(f"Freed {files}, {display.size(report.bytes)}.")
    display.complain_of(report.refused)
    if report.refused:
        raise typer.Exit(LastCopy.exit_code)


def _show_spaces(reports: list[SpaceReport]) -> None:
    display.say_table(
        ["Space", "Role", "Members", "Online", "Entries", "Size", "Here", "Path"],
        [
            [
                report.name,
                report.role,
                str(report.members),
                str(report.online),
                str(report.entries),
                display.size(report.bytes),
                display.size(report.local_bytes),
                report.path,
            ]
            for report in reports
        ],
    )


def _show_conflicts(reports: list[ConflictReport]) -> None:
    display.say_table(
        ["Version", "Kept as", "Writer", "Written", "Size", "Path"],
        [
            [
                version.version,
                version.kept,
                version.writer,
                display.ago(version.written),
                "deleted" if version.deleted else display.size(version.size),
                version.path or report.path,
            ]
            for report in reports
            for version in report.versions
        ],
    )


def home_of(context: typer.Context) -> Home:
    """The home that was named."""
    return _invocation(context).home


def client_of(context: typer.Context) -> Client:
    """A connection to the node of the home that was named. Raises as `Client` does."""
    return _client(home_of(context))


def _invocation(context: typer.Context) -> Invocation:
    invocation = context.find_object(Invocation)
    assert invocation is not None, "main() gives every command its invocation"
    return invocation


def _client(here: Home) -> Client:
    """Raises NotInitialised, which is the first thing to mend where there is no node."""
    here.read_identity()
    try:
        return Client(here.socket_file)
    except NodeNotRunning as error:
        # What knows of mounts takes its time to load.
        from sharefs.node import mounting

        dead = mounting.dead_mount(here)
        if dead is None:
            raise
        raise NodeNotRunning(
            f"The node has ended without being told to, and nothing can be read at {dead} until it"
            " is back: start it with `sharefs up`. `sharefs down` takes the dead mount away."
        ) from error
