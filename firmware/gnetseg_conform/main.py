"""``gnetseg-conform``: does a device do as docs/protocol.md says?"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from typing import Any, NoReturn

import click

from gnetsegd.command_line import tell
from gnetsegd.errors import GnetsegError, PermanentError
from gnetsegd.link.constants import USB_ID

from . import backends, page, play, report
from .bench import Bench
from .guard import in_words
from .registry import Case
from .run import Result, chosen, leave, run
from .wire import Times, Wire

NAME = "gnetseg-conform"


def parse_id(text: str) -> tuple[int, int]:
    """``VID:PID`` in hexadecimal; ``BadParameter`` that says what is wrong."""
    try:
        vendor, product = (int(part, 16) for part in text.split(":"))
    except ValueError:
        vendor = product = -1
    if not (0 <= vendor <= 0xFFFF and 0 <= product <= 0xFFFF):
        raise click.BadParameter(f"{text!r} is not VID:PID in hexadecimal, for example 1209:0001")
    return vendor, product


def parse_cases(names: tuple[str, ...]) -> list[Case]:
    """The cases of these names; ``BadParameter`` for one that is none."""
    try:
        return chosen(names)
    except KeyError as error:
        raise click.BadParameter(f"there is no case {error.args[0]!r}; --list shows them all") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--usb", "usb_id", metavar="VID:PID", type=parse_id, help="The device with this USB id.")
@click.option("--serial", default="", help="Its serial number, if several are plugged in.")
@click.option("--backend", metavar="FILE.py:NAME", help="What makes the pyusb backend that it is behind.")
@click.option("--mock", "on_mock", is_flag=True, help="The mock device, in this process.")
@click.option("--faults", metavar="all|NAME", help="With --mock: does the right case fail with this fault?")
@click.option("--model", metavar="BUNDLE", help="A model that the device can load, for the upload.")
@click.option("--destructive", is_flag=True, help="Run also what changes what the device keeps: uploads.")
@click.option("--case", "names", metavar="NAME", multiple=True, help="Only this case; may be given again.")
@click.option("--list", "list_cases", is_flag=True, help="Show the cases and end.")
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 1000),
    default=1.0,
    show_default=True,
    help="All time limits times this: for devices and machines that are emulated.",
)
@click.option("--answer-s", type=click.FloatRange(0.01, 600), help="Longest wait for one frame [default: 2].")
@click.option("--json", "as_json", is_flag=True, help="A JSON object instead of text.")
def main(
    usb_id: tuple[int, int] | None,
    serial: str,
    backend: str | None,
    on_mock: bool,
    faults: str | None,
    model: str | None,
    destructive: bool,
    names: tuple[str, ...],
    list_cases: bool,
    patience: float,
    answer_s: float | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Hold a device against docs/protocol.md, case by case; 0 if it does as the page says, else 1.

    Nothing else may use the device meanwhile. At the end it has no session, and has served a frame.
    """
    cases = parse_cases(names)
    if list_cases:
        tell(_list(cases), NAME)
        return
    if faults and not on_mock:
        raise click.UsageError("--faults is for --mock: faults are the mock device's")
    if on_mock == bool(usb_id or backend):
        raise click.UsageError("name one device: --usb VID:PID, --backend FILE.py:NAME or --mock")
    if on_mock and (model or serial):
        raise click.UsageError("--model and --serial are for a device; the mock device has its own")
    times = Times() if answer_s is None else replace(Times(), answer_s=answer_s)
    try:
        _need_pyusb()
        if faults:
            told, text = _faults(faults)
        else:
            make = backends.load(backend) if backend else None
            bench, open_setup = (
                _mock_bench()
                if on_mock
                else _bench(usb_id or USB_ID, serial, make, times.times(patience), model, destructive)
            )
            told = _run(bench, cases, None if names else open_setup, _fill if on_mock else None)
            if names:
                told["transcripts"]["words"] = "not played: some cases only were asked for"
            text = report.as_text(told)
    except GnetsegError as error:
        _fail(str(error), error.exit_code)
    tell(json.dumps(told, ensure_ascii=False) if as_json else text, NAME)
    raise SystemExit(0 if told["passed"] else 1)


def _list(cases: list[Case]) -> str:
    lines = []
    for case in cases:
        line = page.line_of(case.heading, case.quote)
        more = f" [destructive: {case.changes}]" if case.changes else ""
        lines.append(f"{case.name}: {case.sentence}{more}\n    {page.NAME}:{line}, {case.heading}")
    return "\n".join(lines)


def _bench(
    usb_id: tuple[int, int], serial: str, make: Any, times: Times, model: str | None, destructive: bool
) -> tuple[Bench, Any]:
    from gnetsegd.model import load_bundle

    bundle = load_bundle(model) if model else None
    try:
        wire = Wire(usb_id, serial, make() if make else None)
    except GnetsegError:
        raise
    except (
        Exception,
        SystemExit,
    ) as error:  # whatever descriptors a device tells, and a foreign backend does
        raise PermanentError(
            f"the device cannot be opened ({in_words(error)}); mend its descriptors, or the backend",
            os.EX_UNAVAILABLE,
        ) from None
    open_setup = None
    if make and backends.takes_setup(make):

        def open_setup(setup: dict[str, Any]) -> Wire:
            return Wire(usb_id, backend=make(setup=setup))

    return Bench(wire, times, bundle=bundle, destructive=destructive), open_setup


def _need_pyusb() -> None:
    try:
        import usb.core  # noqa: F401 - is it there?
    except ImportError:
        raise PermanentError("it needs pyusb; install gnetsegd[usb] or python3-usb") from None


def _mock_bench() -> tuple[Bench, Any]:
    from . import mock

    return mock.bench_on(mock.device()), lambda setup: Wire(USB_ID, backend=mock.make_backend(setup))


def _fill(results: list[Result]) -> list[Result]:
    from . import mock

    return mock.fill(results)


def _run(bench: Bench, cases: list[Case], open_setup: Any, fill: Any) -> dict[str, Any]:
    """Cases, transcripts, and whatever comes, the device left working."""
    about = report.describe(bench)
    # SIGTERM as Ctrl-C: by way of ``leave``.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    left = "it was not tried"
    try:
        results = list(run(bench, cases))
    finally:
        left = leave(bench)
        bench.wire.close()
        signal.signal(signal.SIGTERM, before)
    if fill:
        results = fill(results)
    played = play.play_all(open_setup, bench.times) if open_setup else None
    return report.as_json(about, results, played, left)


def _faults(wanted: str) -> tuple[dict[str, Any], str]:
    from . import mock

    try:
        names = mock.names(wanted)
    except KeyError:
        raise PermanentError(
            f"there is no fault {wanted!r}; gnetseg-mockdev --list-faults shows them all", os.EX_USAGE
        ) from None
    told = mock.try_faults(names)
    return told, report.faults_as_text(told)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"{NAME}: {sentence}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
