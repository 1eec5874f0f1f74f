"""``gnetsegd check-config``: open what the daemon would open, and say what is wrong in one sentence."""

from __future__ import annotations

from pathlib import Path

from ..cameras import CaptureRequest, pyav
from ..config import Config, find_file
from ..config import load as load_config
from ..errors import TransientError
from ..model import ModelBundle
from ..road import zmq_endpoints
from ..road.camera_loop import DRIVER_SHARE
from ..road.zmq_keys import load_keys
from .daemon import warnings
from .networks import choices, finder
from .parts import Setup, make_network, make_setup, make_source, picture_width
from .prove import prove, stay_while_asked


def check(path: Path | None, settings: tuple[str, ...], *, load: bool, in_use: bool) -> list[str]:
    """Lines for people; ``GnetsegError`` for what would not work.

    ``load`` False leaves out what only the machine that it is for can do: the network, the keys, the camera.
    ``in_use`` says that a daemon runs with the same camera and keys.
    """
    path = find_file(path)
    config = load_config(path, settings)
    zmq_endpoints.check(config.publish)
    setups = [make_setup(config, seen) for seen in ((False, True) if len(choices(config)) > 1 else (False,))]
    for setup in setups:
        make_network(setup)
    lines = [f"warning: {words}" for words in warnings(config, 0.0)]
    if load:
        zmq_endpoints.check_paths(config.publish)
        for setup in setups:
            prove(setup.bundles.fallback, config.accelerator, stay_while_asked)
        if config.publish.images:
            pyav.load("publish.images")
        if not in_use:
            for table in config.publish.all_endpoints():
                if table.curve_secret_key_file:
                    load_keys(table.curve_secret_key_file, table.curve_authorized_keys_dir)
            here = setups[-1 if finder(config.accelerator)() else 0]
            lines += _open_camera(config, here.bundles.main)
    camera, accelerator = config.camera.driver, config.accelerator.driver
    models = ", or with one ".join(_names(setup) for setup in setups)
    lines.append(f"{path or 'defaults'}: good ({camera} camera, {accelerator} accelerator, {models})")
    return lines


def _names(setup: Setup) -> str:
    main, fallback = setup.bundles
    return main.id if main is fallback else f"{main.id} and {fallback.id} in its stead"


def _open_camera(config: Config, bundle: ModelBundle) -> list[str]:
    """Open the camera and close it again; what may come back is a warning only."""
    section = config.camera
    camera = make_source(config).make_camera()
    wait_s = DRIVER_SHARE * section.stall_timeout_s
    try:
        camera.open(CaptureRequest.of(bundle.input, section, wait_s, picture_width(config)))
    except TransientError as error:
        return [f"warning: camera {section.name}: {error}"]
    finally:
        camera.close()
    return []
