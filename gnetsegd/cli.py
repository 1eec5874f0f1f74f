"""The command line of the daemon: ``gnetsegd run`` and ``gnetsegd check-config``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from . import __version__
from .config import DEFAULT_PATH, load
from .errors import as_fatal

settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example camera.fps=15.",
)


@click.group()
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

    if config is None and DEFAULT_PATH.exists():
        config = DEFAULT_PATH
    sys.exit(daemon.run(config, settings))


@cli.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
@settings_option
def check_config(file: Path, settings: tuple[str, ...]) -> None:
    """Check a configuration file, and the model that it names, without starting anything."""
    from .model import load_bundle
    from .road import zmq_endpoints as endpoints

    config = load(file, settings)
    endpoints.check(config.publish)
    bundle = load_bundle(config.model.bundle)
    click.echo(
        f"{file}: good ({config.camera.driver} camera, {config.accelerator.driver} accelerator, {bundle.id})"
    )


def main() -> None:
    """Entry point: every error is one sentence on stderr and a code of sysexits.h."""
    # A reload that comes before the daemon listens is no reason to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(os.EX_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(os.EX_SOFTWARE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        fatal = as_fatal(error, "gnetsegd")
        sentence = str(fatal) if fatal is not error else f"gnetsegd: {error}"
        print(sentence, file=sys.stderr)
        sys.exit(fatal.exit_code)


if __name__ == "__main__":
    main()
