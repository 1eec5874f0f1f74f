"""What a network consists of, what it costs, and whether the chip computes it.

``python -m gnetseg_zoo.describe NAME [--json]``, NAME a file of ``configs/`` without
its ending, or a path. ``--list`` names them. Any other network of the paper:
``python -m gnetseg_zoo.describe large --widths 32,64,128 --input YUV444 --size 448``.
Needs neither torch nor tensorflow.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gnetseg_zoo.chip import check
from gnetseg_zoo.config import ConfigError, load_config
from gnetseg_zoo.costs import layer_costs, macs, parameters
from gnetseg_zoo.networks import ARCHITECTURES, INPUT_CHANNELS, Network, NetworkError, build

CONFIGS = Path(__file__).parent / "configs"
OPTIONS: dict[str, Any] = {
    "widths": "",
    "variant": "reformat",
    "input": "Y",
    "size": 224,
    "classes": 2,
    "encoding": "integer",
    "down": "stride",
}
"""What an architecture is described with, and what each is if it is not given."""
ARGMAX = (
    "These channels are scores, one a class. The chip computes them and no argmax: that ends the exported\n"
    "file (ARG_MAX, CAST, RESHAPE), behind the chip, so that one byte a pixel leaves as with integers."
)


def named(name: str) -> Network:
    """The network of a configuration, by name or path. Raises ConfigError or NetworkError."""
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        shipped = ", ".join([*shipped_names(), *ARCHITECTURES])
        raise ConfigError(f"no network is called {name!r}; there are {shipped}, or give the path of a .toml")
    return load_config(path).build_network()


def shipped_names() -> list[str]:
    """The configurations of this package."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def table(network: Network) -> str:
    """The network for people: one line a major layer, the sums, the chip's limits."""
    head = ("", "major layer", "convs", "in", "out", "MMAC", "params", "values read+written")
    rows = [head]
    for n, c in enumerate(layer_costs(network), start=1):
        entering = f"{c.in_channels}x{c.in_size}x{c.in_size}"
        leaving = f"{c.out_channels}x{c.out_size}x{c.out_size}"
        numbers = (f"{c.macs / 1e6:.1f}", f"{c.parameters:,}", f"{c.largest_values:,}")
        rows.append((str(n), c.kind, str(c.sublayers), entering, leaving, *numbers))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    title = f"GnetSeg-{network.architecture.capitalize()} {network.size} {network.input_format} "
    title += f"{network.encoding} {network.classes} classes: {network.pattern}"
    sums = f"{macs(network) / 1e6:.1f} MMAC a frame, {parameters(network):,} parameters, "
    sums += f"mask {network.output_channels}x{network.output_size}x{network.output_size}"
    verdicts = [f"{'fits ' if v.fits else 'NOT  '} {v.limit}: {v.reason}" for v in check(network)]
    notes = ["", ARGMAX] if network.encoding == "softmax" else []
    return "\n".join([title, "", *lines, "", sums, *notes, "", "The accelerator chip:", *verdicts])


def as_json(network: Network) -> dict[str, object]:
    """The same as plain numbers."""
    return {
        "architecture": network.architecture,
        "pattern": network.pattern,
        "macs": macs(network),
        "parameters": parameters(network),
        "mask": [network.output_channels, network.output_size, network.output_size],
        "argmax_in_file": network.encoding == "softmax",
        "layers": [asdict(cost) for cost in layer_costs(network)],
        "chip": [asdict(verdict) for verdict in check(network)],
        "fits_chip": all(verdict.fits for verdict in check(network)),
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.describe", description=__doc__)
    parser.add_argument("name", nargs="?", help="a configuration, or an architecture (then give --widths)")
    parser.add_argument("--list", action="store_true", help="name the configurations and stop")
    parser.add_argument("--json", action="store_true")
    options = parser.add_argument_group("of an architecture")
    options.add_argument("--widths", help="channels from the outside in, for example 32,64,128")
    options.add_argument("--variant", choices=("original", "reformat"))
    options.add_argument("--input", choices=tuple(INPUT_CHANNELS))
    options.add_argument("--size", type=int)
    options.add_argument("--classes", type=int)
    options.add_argument("--encoding", choices=("integer", "softmax"))
    options.add_argument("--down", choices=("stride", "pool"))
    given = parser.parse_args(arguments)
    chosen = {option: getattr(given, option) for option in OPTIONS if getattr(given, option) is not None}
    if given.list:
        if given.name is not None or chosen:
            parser.error("--list stands alone")
        print("\n".join(shipped_names()))
        return 0
    if given.name is None:
        parser.error("give a name, or --list")
    try:
        if given.name in ARCHITECTURES:
            network = _architecture(given.name, OPTIONS | chosen)
        else:
            network = named(given.name)
            if chosen:
                raise ConfigError(
                    f"--{next(iter(chosen))} is for an architecture ({', '.join(ARCHITECTURES)}); "
                    f"{given.name} is described as its configuration has it"
                )
    except (ConfigError, NetworkError) as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_USAGE
    print(json.dumps(as_json(network)) if given.json else table(network))
    return 0


def _architecture(name: str, options: dict[str, Any]) -> Network:
    if not options["widths"]:
        raise NetworkError(f"{name} wants --widths, its channels from the outside in, for example 32,64,128")
    return build(
        name,
        widths=_numbers(options["widths"]),
        variant=options["variant"],
        input_format=options["input"],
        size=options["size"],
        classes=options["classes"],
        encoding=options["encoding"],
        down=options["down"],
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError:
        raise NetworkError(
            f"--widths takes numbers with commas between, for example 32,64,128; given {text!r}"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
