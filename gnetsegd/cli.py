"""The command line of the daemon: ``gnetsegd run`` and ``gnetsegd check-config``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from . import __version__, command_line
from .config import DEFAULT_PATH, find_file

settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example camera.fps=15. KEY?=VALUE holds where the file says nothing.",
)


@click.group(cls=command_line.Commands)
@click.version_option(__version__, message="gnetsegd %(version)s")
def cli() -> None:
    """Person masks from a camera, on ZeroMQ, in every frame."""


@cli.command()
@click.option(
    "--config", type=click.Path(path_type=Path), default=None, help=f"Default: {DEFAULT_PATH} if it is there."
)
@settings_option
def run(config: Path | None, settings: tuple[str, ...]) -> None:
    """Run the daemon in the foreground (systemd does the rest)."""
    from .process import daemon

    sys.exit(daemon.run(find_file(config), settings))


@cli.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The same as FILE.")
@settings_option
@click.option("--no-load", is_flag=True, help="Open no network, key, camera: the file is for elsewhere.")
@click.option(
    "--running", is_flag=True, hidden=True, help="For a reload: the camera and the socket are in use."
)
def check_config(
    file: Path | None, config: Path | None, settings: tuple[str, ...], no_load: bool, running: bool
) -> None:
    """Check a configuration by opening what the daemon would open: network, delegate, keys, camera."""
    from .process import check

    if file is not None and config is not None:
        raise click.UsageError("FILE and --config are the same; give one")
    for line in check.check(file or config, settings, load=not no_load, in_use=running):
        click.echo(line)


def _stand_on_something() -> None:
    """Descriptors 0 to 2 are open: else the first socket would be taken for the standard output."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, fd in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - a descriptor


def main() -> None:
    """Entry point: every error is one sentence on stderr and a code of sysexits.h."""
    _stand_on_something()
    # A reload that comes before the daemon listens is no reason to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command_line.run(cli, "gnetsegd")


if __name__ == "__main__":
    main()
