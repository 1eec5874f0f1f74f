"""The command line ``gnetsegctl``."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import __version__, command_line
from ..client import DEFAULT_ENDPOINT, client_config
from ..client.connect import usual_endpoint
from ..command_line import Finite, FiniteRange
from ..errors import ConfigError
from ..message import CAMERA_NAME
from ..text import clean
from .session import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from .permitted import Place

FILE = click.Path(path_type=Path)
KEY_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def _camera(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not CAMERA_NAME.fullmatch(value):
        raise click.BadParameter("a camera's name is 1 to 8 of a-z, 0-9, '_' and '-'")
    return value


def _key_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not KEY_NAME.fullmatch(value):
        raise click.BadParameter("a name is 1 to 64 of letters, digits, '_', '.' and '-'")
    return value


def _instance(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else _key_name(context, parameter, value)


def _keys(path: Path | None) -> tuple[bytes | None, bytes | None]:
    """(public, secret) of a CURVE key file; the secret only if it is in there."""
    if path is None:
        return None, None
    from ..curve import load

    return load(path)


def _with_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say whom to ask, and the ``Target`` made of them."""

    @click.option(
        "--endpoint",
        default=None,
        help=f"Where the daemon publishes. Default: {DEFAULT_ENDPOINT}, or gnetsegd-CAMERA there.",
    )
    @click.option("--camera", default="cam0", show_default=True, callback=_camera, help="Its camera.name.")
    @click.option(
        "--timeout",
        type=FiniteRange(0.1, 3600),
        default=3.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for it.",
    )
    @click.option("--client", type=FILE, help="A client's file, as keys show-client-config prints it.")
    @click.option("--server-key", type=FILE, help="CURVE: file with the daemon's public key (.key).")
    @click.option("--key", type=FILE, help="CURVE: file with your own keys (.key_secret).")
    @functools.wraps(command)
    def wrapped(
        endpoint: str | None,
        camera: str,
        timeout: float,
        client: Path | None,
        server_key: Path | None,
        key: Path | None,
        **options: Any,
    ) -> None:
        endpoint = endpoint if endpoint is not None else usual_endpoint(camera)
        if client is not None:
            if server_key is not None or key is not None:
                raise ConfigError("--client has the keys; leave --server-key and --key out", os.EX_USAGE)
            given = client_config(client)
            reach = Target(given.pop("endpoint", endpoint), given.pop("camera", camera), timeout, **given)
            command(reach, **options)
            return
        server_public, _ = _keys(server_key)
        public, secret = _keys(key)
        if key is not None and secret is None:
            raise ConfigError(
                f"{clean(str(key))}: holds no secret key; name the .key_secret file", os.EX_NOINPUT
            )
        if key is not None and server_key is None:
            raise ConfigError("--key needs --server-key, the daemon's public key", os.EX_USAGE)
        command(Target(endpoint, camera, timeout, server_public, public, secret), **options)

    return wrapped


@click.group(cls=command_line.Commands)
@click.version_option(__version__, message="gnetsegctl %(version)s")
def cli() -> None:
    """Look at the masks of a running gnetsegd."""


@cli.command()
@click.option("--seconds", type=FiniteRange(0.1), default=None, help="End after so long; else with Ctrl-C.")
@_with_target
def watch(target: Target, seconds: float | None) -> None:
    """Show the masks live: rate, age, share of person, backend and gaps."""
    from . import watch as implementation

    implementation.watch(target, seconds)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON: the newest status and info.")
@_with_target
def status(target: Target, as_json: bool) -> None:
    """Say how the daemon is."""
    from . import status as implementation

    implementation.show(target, as_json)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@_with_target
def snapshot(target: Target, file: Path) -> None:
    """Write one mask to FILE, a PNG; over its picture if the daemon publishes frames.

    FILE is a plain file, which is replaced if it is there, or - for the standard output.
    """
    from . import snapshot as implementation

    implementation.take(target, file)


@cli.command()
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    help="Of a daemon; again for more. Without it, all of this machine.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option(
    "--share", is_flag=True, help="Open it to the network, for whoever has the address that is printed."
)
@click.option(
    "--new-token", is_flag=True, help="With --share: addresses printed before do not work any more."
)
@click.option(
    "--viewers", type=click.IntRange(1, 150), default=64, show_default=True, help="Of each camera, at most."
)
@click.option("--state", type=FILE, help="Folder for zones and the token; by default the user's own.")
def view(
    endpoints: tuple[str, ...], port: int, share: bool, new_token: bool, viewers: int, state: Path | None
) -> None:
    """Serve the page: see yourself in a browser, whether all is well, and draw zones."""
    from ..errors import PermanentError

    try:
        from ..services.view import run
    except ImportError as error:
        raise PermanentError(
            f"the page needs aiohttp and Pillow ({clean(str(error))}): "
            "apt install python3-aiohttp python3-pil, or pip install 'gnetsegd[view]'"
        ) from None
    folder = state if state is not None else run.default_state_folder()
    run.serve(run.Options(endpoints, port, share, new_token, viewers, folder))


@cli.command()
@click.option("--endpoint", "endpoints", multiple=True, help="Of a daemon; else all of this machine.")
@click.option("--address", default="127.0.0.1", show_default=True, help="To listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9798, show_default=True)
@click.option("--masks", is_flag=True, help="Read masks, too. It keeps the cameras awake.")
@click.option(
    "--zones", "zones_dir", type=FILE, default=Path("/var/lib/gnetsegd-view/zones"), help="The page's zones."
)
def exporter(endpoints: tuple[str, ...], address: str, port: int, masks: bool, zones_dir: Path) -> None:
    """Serve metrics for Prometheus."""
    from ..errors import PermanentError

    try:
        from ..services.exporter import run
    except ImportError as error:
        raise PermanentError(
            f"the exporter needs prometheus_client ({clean(str(error))}): "
            "apt install python3-prometheus-client, or pip install 'gnetsegd[exporter]'"
        ) from None
    run.serve(run.Options(endpoints, address, port, masks, zones_dir))


@cli.command()
@click.option("--config", type=FILE, help="By default /etc/gnetsegd/presence.toml, if it is there.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Instead of what the file says.")
@click.option("--exec", "command", help="A command to run at each change.")
@click.option("--webhook", help="An address to POST each change to.")
@click.option("--state", type=FILE, help="Folder for what was announced; by default the user's own.")
def presence(
    config: Path | None,
    settings: tuple[str, ...],
    command: str | None,
    webhook: str | None,
    state: Path | None,
) -> None:
    """Tell Home Assistant (MQTT), a command or an address whether somebody is there."""
    from ..services.presence import config as configuration
    from ..services.presence import run

    given = [("service.exec", command), ("service.webhook", webhook)]
    settings += tuple(f"{key}={json.dumps(value)}" for key, value in given if value is not None)
    loaded = configuration.load(config, settings)
    run.serve(loaded, state if state is not None else run.default_state_folder())


@cli.command()
@click.option("--config", type=FILE, help="By default /etc/gnetsegd/zenoh.toml, if it is there.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Instead of what the file says.")
def zenoh(config: Path | None, settings: tuple[str, ...]) -> None:
    """Tell other machines of this one's cameras, over Zenoh (docs/fleet.md)."""
    from ..services.fleet import config as configuration
    from ..services.fleet import run

    run.serve(configuration.load(config, settings))


@cli.group(cls=command_line.Commands)
def fleet() -> None:
    """Look at the cameras of many machines, over Zenoh (docs/fleet.md)."""


def _with_router(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the router is."""

    @click.option(
        "--connect",
        multiple=True,
        help="A router; by default those of --zenoh-config, else tcp/localhost:7447.",
    )
    @click.option("--zenoh-config", type=FILE, help="Zenoh's own configuration, for TLS.")
    @click.option("--seconds", type=FiniteRange(0.1), default=None, help="End after so long; else Ctrl-C.")
    @click.option("--hosts", default="", metavar="NAME", help="Those alone whose names begin so.")
    @click.option("--no-masks", is_flag=True, help="Presence, status and info alone.")
    @functools.wraps(command)
    def wrapped(
        connect: tuple[str, ...], zenoh_config: Path | None, hosts: str, no_masks: bool, **options: Any
    ) -> None:
        from ..services.fleet.config import LinkConfig, Wish

        own = str(zenoh_config) if zenoh_config is not None else ""
        router = LinkConfig(connect=list(connect), config_file=own)
        command(router, Wish(hosts, not no_masks), **options)

    return wrapped


@fleet.command("watch")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end: needs --seconds.")
@_with_router
def fleet_watch(router: Any, wish: Any, seconds: float | None, as_json: bool) -> None:
    """List hosts and cameras: rates, ages, losses, when they were last seen, and who is lost."""
    from ..services.fleet import run

    if as_json and seconds is None:
        raise ConfigError("--json needs --seconds", os.EX_USAGE)
    run.watch(router, wish, seconds, as_json)


@fleet.command("record")
@click.argument("file", type=FILE)
@_with_router
def fleet_record(router: Any, wish: Any, file: Path, seconds: float | None) -> None:
    """Record all cameras into one FILE, an MCAP file (docs/recording.md)."""
    from ..services.fleet import run

    run.record(router, wish, file, seconds)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name", default="gnetsegd", callback=_key_name)
def keygen(folder: Path, name: str) -> None:
    """Make a CURVE key pair: FOLDER/NAME.key (public) and NAME.key_secret."""
    from .keys import make

    make(folder, name)


@cli.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, required=True, help="Folder of the masks; it is made if it is not there.")
@click.option("--model", "bundle", default="person", show_default=True, help="A bundle, as model.bundle.")
@click.option("--format", "form", type=click.Choice(["png", "npz"]), default="png", show_default=True)
@click.option("--full-size", is_flag=True, help="Masks of the picture's size, not of the network's.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="For the network.")
@click.option("--json", "as_json", is_flag=True, help="What came of each file, as JSON.")
def segment(
    files: tuple[Path, ...], out: Path, bundle: str, form: str, full_size: bool, threads: int, as_json: bool
) -> None:
    """Make the mask of every picture of FILES: films, photos, or folders of photos. Needs no daemon.

    Goes on where it stopped when it is called again. Ends with 0, or with the code of the first file that
    could not be read to its end.
    """
    from . import segment as implementation

    results = implementation.segment(list(files), out, implementation.Wish(bundle, form, full_size, threads))
    if as_json:
        click.echo(json.dumps([result._asdict() for result in results]))
    else:
        for result in results:
            click.echo(implementation.told(result))
    sys.exit(next((result.exit for result in results if result.exit), 0))


@cli.command()
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
@click.option("--model", "bundle", default="person", show_default=True, help="A bundle, as model.bundle.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="For the network.")
def cutout(source: Path, target: Path, bundle: str, threads: int) -> None:
    """Cut the persons out of one photo, SOURCE, into a PNG with alpha, TARGET (- for the standard output).

    Needs no daemon.
    """
    from .cutout import cut_out

    share = cut_out(source, target, bundle, threads)
    click.echo(f"{clean(str(target))}: {share:.0%} of the photo is person", err=str(target) == "-")


@cli.command()
@click.option(
    "--instance",
    default=None,
    metavar="NAME",
    callback=_instance,
    help="The unit gnetsegd@NAME in place of gnetsegd.",
)
@click.option("--json", "as_json", is_flag=True, help='As JSON: {"faults": [...]}.')
def doctor(instance: str | None, as_json: bool) -> None:
    """Find out what keeps masks from coming here, and say what to type. Silent, and 0, if nothing does.

    As root it sees more: which program has the camera, and what the journal says.
    """
    from .doctor import examine

    sys.exit(examine.show(instance or "", as_json))


@cli.command()
@click.argument("file", type=FILE)
@click.option("--seconds", type=FiniteRange(0.1), default=None, help="End after so long; else with Ctrl-C.")
@click.option("--frames", is_flag=True, help="The pictures that the network saw, too (publish.frames).")
@click.option(
    "--picture", "pictures", is_flag=True, help="The camera's pictures in colour, too (publish.images)."
)
@click.option("--max-size", type=FiniteRange(0.1), metavar="MB", help="End when the file is so large.")
@_with_target
def record(
    target: Target, file: Path, seconds: float | None, frames: bool, pictures: bool, max_size: float | None
) -> None:
    """Record masks, info and status into FILE, an MCAP file that is whole up to the last second at any time.

    Where FILE is there already the next free name is taken; one that was left without its end gets it.
    """
    from ..services.record import command

    wish = command.Wish(frames, pictures, seconds or 0.0, int((max_size or 0.0) * 1e6))
    command.record(target, file, wish)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
def recover(files: tuple[Path, ...]) -> None:
    """Give recordings that were cut (a power cut, a full disk) their end, so that every reader opens them."""
    from ..services.record import command

    command.recover(files)


@cli.command()
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
def convert(source: Path, target: Path) -> None:
    """Make TARGET of the recording SOURCE, with pictures and masks as Foxglove and rerun show them."""
    from ..services.record import command

    command.convert(source, target)


@cli.command()
@click.argument("file", type=FILE)
@click.option(
    "--rate", type=FiniteRange(0.01, 100.0), default=1.0, show_default=True, help="2: twice as fast."
)
@click.option("--loop", is_flag=True, help="Again and again, each time as a daemon that has restarted.")
@click.option(
    "--endpoint", default=None, help="Where to publish; by default a place of your own, which it prints."
)
@click.option("--host", default=None, help="Which machine's, of a fleet's recording; by default the first's.")
@click.option("--now", is_flag=True, help="Do not wait for the first reader.")
def replay(file: Path, rate: float, loop: bool, endpoint: str | None, host: str | None, now: bool) -> None:
    """Publish a recording as its daemon would now: for readers only a flag in info tells the difference."""
    from ..services.record import command

    command.replay(file, rate, loop, endpoint, not now, host)


@cli.command()
@click.option(
    "--seconds", type=FiniteRange(1.0, 3600.0), default=20.0, show_default=True, help="Measure so long."
)
@click.option("--own", is_flag=True, help="A daemon of its own on the pattern camera, though one runs.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of its own daemon, as gnetsegd run has it."
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@_with_target
def bench(target: Target, seconds: float, own: bool, settings: tuple[str, ...], as_json: bool) -> None:
    """Measure masks a second and latency here, in one line to paste (docs/boards.md).

    The running daemon is read; where there is none, one of its own on the pattern camera.
    """
    from . import bench as implementation

    where = click.get_current_context().get_parameter_source("endpoint")
    wish = implementation.Wish(seconds, own or bool(settings), settings)
    implementation.bench(target, wish, where is not click.core.ParameterSource.DEFAULT, as_json)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def cameras(as_json: bool) -> None:
    """List the cameras that are here, and the lines that choose each."""
    from .cameras import show

    show(as_json)


@cli.group(cls=command_line.Commands)
def keys() -> None:
    """Who may read over the network. The running daemon takes each change over by itself."""


def _with_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where keys are, and the ``Place`` made of them."""

    @click.option(
        "--config", type=FILE, default=None, help="Default: /etc/gnetsegd/gnetsegd.toml, if it is there."
    )
    @click.option("--folder", type=FILE, default=None, help="Default: as configured, or keys/ beside it.")
    @functools.wraps(command)
    def wrapped(config: Path | None, folder: Path | None, **options: Any) -> None:
        from . import permitted

        command(permitted.find(config, folder), **options)

    return wrapped


@keys.command("init")
@click.option("--new", is_flag=True, help="Another pair in place of the one that is there.")
@_with_place
def keys_init(place: Place, new: bool) -> None:
    """Make the daemon's key pair, and say what to add to the configuration."""
    from . import permitted

    permitted.init(place, new)


@keys.command("add")
@click.argument("name", callback=_key_name)
@click.option("--public", metavar="KEY", default=None, help="Its public key, where the client made its own.")
@_with_place
def keys_add(place: Place, name: str, public: str | None) -> None:
    """Permit a client, which may read within two seconds."""
    from . import permitted

    permitted.add(place, name, public)


@keys.command("revoke")
@click.argument("name", callback=_key_name)
@_with_place
def keys_revoke(place: Place, name: str) -> None:
    """Take a client's permission back. When this has answered, the client gets nothing more."""
    from . import permitted

    permitted.revoke(place, name)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list.")
@_with_place
def keys_list(place: Place, as_json: bool) -> None:
    """Show who is permitted."""
    from . import permitted

    found = permitted.names(place)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for client in found:
        click.echo(f"{client['name']}  {client.get('public_key') or client['problem']}")


@keys.command("show-client-config")
@click.argument("name", callback=_key_name)
@click.option("--host", default=None, help="How the client reaches this machine. Default: its name.")
@_with_place
def keys_show(place: Place, name: str, host: str | None) -> None:
    """Print the file that a client needs: address, camera and keys, its secret one among them."""
    from . import permitted

    click.echo(permitted.client_config(place, name, host), nl=False)


@cli.group(cls=command_line.Commands)
def model() -> None:
    """Networks of your own."""


@model.command(name="import")
@click.argument("file", type=FILE)
@click.option("--name", required=True, callback=_key_name, help="What to call it (model.id).")
@click.option("--labels", default="", help="Of the classes, from 0, parted by commas.")
@click.option("--persons", default="", help="Those of the labels that are persons, if not called so.")
@click.option("--licence", default="", help="Of its weights; asked for at a terminal.")
@click.option("--title", default="", help="One line for people.")
@click.option("--format", "pixel_format", type=click.Choice(["Y", "RGB", "YUV444"]), help="Of its input.")
@click.option("--scale", type=Finite(), help="What it takes for a byte: byte * scale + offset (1/255).")
@click.option("--offset", type=Finite(), help="What it takes for the byte 0.")
@click.option(
    "--threshold", type=Finite(), default=0.5, show_default=True, help="One score: over it is a person."
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "litert", "tflite-runtime"]),
    default="auto",
    help="To try it with.",
)
@click.option("--output", type=FILE, help="Folder to write; else NAME, here.")
def import_model(
    file: Path, name: str, labels: str, persons: str, licence: str, output: Path | None, **options: Any
) -> None:
    """Make a bundle of a TFLite network that segments; it runs on the CPU."""
    from .model_import import Wish, import_file

    if not licence:
        if not sys.stdin.isatty():
            raise ConfigError("say under which licence its weights are, with --licence", os.EX_USAGE)
        licence = click.prompt("Licence of its weights")
    given = {**options, "pixel_format": options["pixel_format"] or ""}
    wish = Wish(name=name, labels=_words(labels), persons=_words(persons), licence=clean(licence), **given)
    folder = output or Path(name)
    done = import_file(file, folder, wish)
    bundle = done.bundle
    click.echo(
        f"{clean(str(folder))}: {bundle.input.pixel_format} {bundle.input.width}x{bundle.input.height} in, "
        f"{bundle.mask.width}x{bundle.mask.height} out, labels {', '.join(bundle.labels)}; "
        f"{done.took_ms:.1f} ms a picture on one core ({done.runtime}), of which {done.host_ms:.1f} ms are "
        "the host's own"
    )
    if not bundle.persons:
        click.echo("No label is a person: info.persons is empty; name them with --persons.")
    click.echo(f"To run it: [model] bundle = {json.dumps(str(folder.resolve()))}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(clean(word.strip()) for word in text.split(",") if word.strip())


def main() -> None:
    """Entry point: every error is one sentence on stderr and a code of sysexits.h."""
    if sys.stdout is None:
        sys.exit(command_line.say("gnetsegctl: its output is closed; start it with one", os.EX_IOERR))
    command_line.run(cli, "gnetsegctl")


if __name__ == "__main__":
    main()
