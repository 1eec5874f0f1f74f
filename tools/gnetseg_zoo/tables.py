"""The paper's tables 1 and 2, row by row, with this project's figures beside.

``python -m gnetseg_zoo.tables [--json] [--no-link]``. Ours are other networks on other
photos: the two mIoU of a line say nothing of each other. FPS are measured over an
*emulated* link, whose rate and computing time are inferred from the paper or estimated
(``paper.py``). Needs what the daemon needs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from dataclasses import asdict
from typing import Any

from gnetseg_zoo.chip import check
from gnetseg_zoo.config import Config, ConfigError, load_config
from gnetseg_zoo.costs import macs
from gnetseg_zoo.describe import CONFIGS
from gnetseg_zoo.emulated_link import bits_of, measure
from gnetseg_zoo.networks import Network, build
from gnetseg_zoo.paper import DATA, ROWS, Row, compute_ms, link
from gnetsegd.model import SHIPPED

OUR_DATA = {1: "person photos, val", 2: "CamVid, 11 classes, val"}
SCORES = {1: "persons", 2: "all"}
"""The table of ``model.toml`` under ``[scores]`` that holds the mIoU."""
NOT_TRAINED = "not trained"
# What a row without a configuration of its own is counted with.
WIDTHS, SUBLAYERS = (24, 48, 96, 128), (2, 2, 3, 8, 2, 2, 2)


def our_configs(row: Row) -> list[Config]:
    """The configurations of this package for ``row``, best first: shipped ones, then those for the chip.

    For 16 classes any with more than two, since ours are of other data.
    """
    found = [load_config(path) for path in sorted(CONFIGS.glob("*.toml"))]
    fitting = [config for config in found if _matches(config.build_network(), row)]
    return sorted(fitting, key=lambda c: (not shipped(c.name), not c.accelerator, c.name))


def _matches(ours: Network, row: Row) -> bool:
    wanted = ("large", "reformat", row.size, row.input_format, row.encoding, row.classes > 2)
    return wanted == (
        ours.architecture,
        ours.variant,
        ours.size,
        ours.input_format,
        ours.encoding,
        ours.classes > 2,
    )


def our_network(row: Row, config: Config | None) -> Network:
    """The network of ``config``, or without one the row's own in the widths of our largest."""
    if config is not None:
        return config.build_network()
    return build(
        "large",
        widths=WIDTHS,
        sublayers=SUBLAYERS,
        variant="reformat",
        input_format=row.input_format,
        size=row.size,
        classes=row.classes,
        encoding=row.encoding,
    )


def shipped(name: str) -> bool:
    """Whether the bundle ``name`` lies among the daemon's models."""
    return (SHIPPED / name / "model.toml").is_file()


def our_miou(row: Row, name: str) -> float | None:
    """The mIoU (0..1) in the shipped bundle ``name``, or None."""
    if not shipped(name):
        return None
    scores = tomllib.loads((SHIPPED / name / "model.toml").read_text("utf-8")).get("scores", {})
    miou = scores.get(SCORES[row.table], {}).get("miou")
    return None if miou is None else float(miou)


def line(row: Row, seconds: float | None) -> dict[str, Any]:
    """One row: the paper's figures and ours as plain values; ``seconds`` None leaves the link out."""
    configs = our_configs(row)
    config = configs[0] if configs else None
    # Of the chip where the shipped one is not: there is no trained one then.
    chip = None if config is None or config.accelerator else next((c for c in configs if c.accelerator), None)
    network = our_network(row, config)
    bus = link(row)
    milliseconds, origin = compute_ms(row, macs(network))
    trained = config is not None and shipped(config.name)
    channels = network.sublayers()[0].in_channels
    bits = bits_of(network.classes)
    out: dict[str, Any] = {
        "table": row.table,
        "row": row.name,
        "host": row.host,
        "bus": row.bus,
        "paper": {"fps": row.fps, "miou": row.miou, "data": DATA[row.table]},
        "ours": {
            "model": config.name if config is not None and trained else NOT_TRAINED,
            "config": config.name if config is not None else None,
            "chip_config": chip.name if chip is not None else None,
            "architecture": f"{network.architecture}: {network.pattern}",
            "variant": network.variant,
            "input": network.input_format,
            "size": network.size,
            "encoding": network.encoding,
            "classes": network.classes,
            "mmacs": round(macs(network) / 1e6, 1),
            "fits_chip": all(verdict.fits for verdict in check(network)),
            "bytes_out": channels * network.size**2,
            "bytes_in": network.output_size * ((network.output_size * bits + 7) // 8),
            "mask_bits": bits,
            "miou": our_miou(row, config.name) if config is not None else None,
            "data": OUR_DATA[row.table],
        },
        "link": None,
    }
    if seconds is not None:
        rates = measure(network, bus.mbps, milliseconds, seconds)
        out["link"] = {
            "emulated": True,
            "mbps": bus.mbps,
            "mbps_source": bus.source,
            "compute_ms": round(milliseconds, 2),
            "compute_source": origin,
            **{name: round(value, 1) for name, value in asdict(rates).items()},
        }
    return out


def text(lines: list[dict[str, Any]]) -> str:
    """The lines for people, one block a table."""
    blocks = []
    for table in (1, 2):
        rows = [_HEAD, *(_cells(one) for one in lines if one["table"] == table)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        head = f"Table {table}. FPS, mIoU on the left: the paper's, {DATA[table]}. mIoU on the right: ours, "
        head += f"{OUR_DATA[table]}."
        laid = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        blocks.append("\n".join([head, "", *(row.rstrip() for row in laid)]))
    return "\n\n".join(blocks) + "\n\n" + LEGEND


_LINK_HEAD = ("MB/s, ms", "serial FPS", "pipelined FPS")
_HEAD = ("row", "host, bus", "FPS", "mIoU", "our model", "MMAC", "bytes out/in", *_LINK_HEAD, "mIoU")
LEGEND = (
    "The two mIoU are of other networks on other photos and cannot be compared. MB/s, ms: of the emulated\n"
    "link and the chip (i: inferred from the paper, e: estimated from its 2,142 GMAC/s). serial: one frame\n"
    "after another, a byte a mask pixel, as in the paper; pipelined: the daemon's way, masks packed to\n"
    "bits; in brackets what bytes and computing time allow: a machine slower than the link stays below.\n"
    "The paper's softmax sends every class's scores, ours ends in an argmax and sends labels."
)


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    ours, rates = one["ours"], one["link"]
    emulated: tuple[str, ...] = ("-", "-", "-")
    if rates:
        origin = rates["compute_source"][0]
        emulated = (
            f"{rates['mbps']:g}, {rates['compute_ms']:g}{origin}",
            f"{rates['serial']:.1f} ({rates['serial_bound']:.0f})",
            f"{rates['pipelined']:.1f} ({rates['pipelined_bound']:.0f})",
        )
    return (
        one["row"],
        f"{one['host']}, {one['bus']}",
        f"{one['paper']['fps']:.2f}",
        f"{one['paper']['miou']:.3f}",
        ours["model"] + (f" (chip: {ours['chip_config']}, {NOT_TRAINED})" if ours["chip_config"] else ""),
        f"{ours['mmacs']:.0f}",
        f"{ours['bytes_out']:,} / {ours['bytes_in']:,}",
        *emulated,
        "-" if ours["miou"] is None else f"{ours['miou']:.4f}",
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.tables", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--no-link", action="store_true", help="leave the emulated link out: at once")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    given = parser.parse_args(arguments)
    seconds = None if given.no_link else given.seconds
    try:
        lines = [line(row, seconds) for row in ROWS]
    except (ConfigError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    if given.json:
        print(json.dumps({"rows": lines, "legend": LEGEND, "machine": machine}))
        return 0
    print(text(lines))
    if seconds is not None:
        print(
            f"FPS measured on {machine['cores']} cores at a load of {machine['load']}; with more load than "
            f"cores they are those of a busy machine, not of the link."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
