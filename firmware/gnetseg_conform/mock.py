"""The mock device under the cases: all have to pass, and with each of its faults the right one to fail."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.faults import FAULTS
from gnetseg_device.model_store import ModelStore, StoredModel
from gnetseg_device.networks import FakeNetwork

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link.constants import USB_ID, Feature
from gnetsegd.link.model_upload import ModelRecord, parse_record
from gnetsegd.model import ModelBundle

from .bench import Bench
from .registry import Case
from .run import ORDER, Result, check, leave, run
from .wire import Times, Wire

#: It computes in the transfer that asks for the answer: silence is silence at once.
TIMES = Times(request_s=0.2, answer_s=0.2, begin_s=0.2, commit_s=5.0, silence_s=0.01)

_CABLE = "the cable: it was pulled"
_HOST = "the host's own: no device can bring it about"
#: What such a fault is told with.
ALLOWED = "the page allows it: every case has to pass"
#: Faults that break nothing of what the page demands of a device, and why.
NOT_THE_DEVICES = {
    "unplug-idle": _CABLE,
    "unplug-out": _CABLE,
    "unplug-in": _CABLE,
    "replug": _CABLE,
    "replug-elsewhere": _CABLE,
    "reboot-lost-model": "the cable, and a SHOULD: the model is to be kept over a loss of power",
    "short-write": _HOST,
    "no-memory": _HOST,
    "permission": _HOST,
    "busy": _HOST,
    "older-minor": ALLOWED,
    "later-minor": ALLOWED,
    "slow": ALLOWED + "; it names no time for a frame",
    "slow-flash": ALLOWED + "; MODEL_COMMIT may take 5 s",
    "zero-chunk": ALLOWED + "; such a device takes no model",
}


def catchers(fault: str) -> list[Case]:
    """The cases that are for ``fault``; none for one that is not the device's."""
    return [case for case in ORDER if fault in case.catches]


def model(content: bytes, spec: FrameSpec, classes: int) -> ModelBundle:
    """A bundle for ``FakeNetwork``, which any bytes will do for."""
    return ModelBundle(
        id="fake", title="", licence="", path=Path(), sha256=hashlib.sha256(content).digest(),
        content=content, input=spec, mask=MaskFormat(spec.width, spec.height, 8, classes),
        labels=tuple(map(str, range(classes))),
    )  # fmt: skip


#: Three classes leave room for a wrong label in 2, 4 and 8 bits, 30 pixels a row leave padding in 1, 2 and 4.
#: A RESULT of 8 bits is 32 + 480 bytes: it needs the pad.
FACTORY = model(b"the model from the factory", FrameSpec(30, 16, "YUV444"), 3)
#: Another size, format and number of classes.
UPLOADED = model(b"the model that is uploaded" * 20, FrameSpec(16, 8, "Y"), 2)


def device(fault: str = "", **options: Any) -> MockDevice:
    """A mock device with its model, and perhaps a fault that is there from the beginning."""
    have: dict[str, Any] = {"model": FACTORY, "serial": "mock-0001"}
    made = MockDevice(**have | options)
    if fault:
        made.inject(fault, count=None)
    return made


#: Other mock devices, for cases that do not apply to the usual one.
_OTHERS: tuple[dict[str, Any], ...] = (
    {"model": None},
    {"limits": Limits(features=int(Feature.PAYLOAD_CRC))},
)


def fill(results: list[Result]) -> list[Result]:
    """Each case that was skipped, tried on the other mock devices."""
    filled = list(results)
    for options in _OTHERS:
        made = device(**options)
        try:
            bench = bench_on(made)
            filled = [
                check(bench, result.case) if result.outcome == "skipped" else result for result in filled
            ]
        finally:
            made.close()
    return filled


def bench_on(made: MockDevice) -> Bench:
    """Everything may be tried on it."""
    wire = Wire(USB_ID, backend=made.backend)
    return Bench(wire, TIMES, bundle=UPLOADED, destructive=True)


def make_backend(setup: dict[str, Any]) -> Any:
    """For transcripts: a pyusb backend of a device that offers and has what ``setup`` says."""
    store = ModelStore(setup["max_model"])
    if setup["model"]:
        record = parse_record(bytes.fromhex(setup["model"]["record"]))
        store.activate(StoredModel(record, bytes.fromhex(setup["model"]["content"])))
    limits = Limits(
        slots=setup["slots"], max_payload=setup["max_payload"], max_chunk=setup["max_chunk"],
        mask_bits=tuple(setup["mask_bits"]), pixel_formats=tuple(setup["pixel_formats"]),
        features=setup["features"],
    )  # fmt: skip
    return MockDevice(network=_test_network, limits=limits, store=store).backend


def _test_network(record: ModelRecord, content: bytes) -> FakeNetwork:
    if content.startswith(b"bad"):
        raise ValueError("it does not load")
    return FakeNetwork(record, content)


def try_fault(fault: str) -> dict[str, Any]:
    """What the cases that are for ``fault`` say without it and with it; does the device work afterwards?

    ``caught``: each of them passes without the fault, and fails with it.
    """
    made = device()
    try:
        bench = bench_on(made)
        cases = catchers(fault)
        without = [check(bench, case).outcome for case in cases]
        results = []
        for case in cases:
            made.inject(fault, count=None)
            _open_again(bench, made)  # what it does on the way to being opened counts, too
            results.append(check(bench, case))
            made.clear()
            made.unplug()  # some are there until the power was off
            made.plug()
            _open_again(bench, made)
        left = leave(bench)
    finally:
        made.close()
    outcomes = [result.outcome for result in results]
    return {
        "caught": bool(cases) and set(without) == {"passed"} and set(outcomes) == {"failed"},
        "cases": {result.case.name: result.words for result in results},
        "usable": not left,
    }


def _open_again(bench: Bench, made: MockDevice) -> None:
    bench.wire.close()
    bench.wire = Wire(USB_ID, backend=made.backend)


def try_allowed(fault: str) -> dict[str, Any]:
    """Whether every case passes with a fault that breaks nothing; those that do not, with their words."""
    made = device(fault)
    try:
        bench = bench_on(made)
        results = list(run(bench, ORDER))
        failed = {result.case.name: result.words for result in results if result.outcome == "failed"}
        left = leave(bench)
    finally:
        made.close()
    return {"passed": not failed and not left, "failed": failed}


def names(wanted: str) -> list[str]:
    """``all`` or one name; ``KeyError`` for another word."""
    if wanted == "all":
        return list(FAULTS)
    if wanted not in FAULTS:
        raise KeyError(wanted)
    return [wanted]


def try_faults(wanted: list[str]) -> dict[str, Any]:
    """All of it as one object: ``passed`` if each fault is caught, allowed and borne, or not the device's."""
    faults = {name: try_fault(name) for name in wanted if name not in NOT_THE_DEVICES}
    others = {name: NOT_THE_DEVICES[name] for name in wanted if name in NOT_THE_DEVICES}
    allowed = {
        name: {"why": why, **try_allowed(name)} for name, why in others.items() if why.startswith(ALLOWED)
    }
    missed = [name for name, result in faults.items() if not (result["caught"] and result["usable"])]
    return {
        "passed": not missed and all(result["passed"] for result in allowed.values()),
        "caught": len(faults) - len(missed),
        "missed": missed,
        "faults": faults,
        "allowed": allowed,
        "not_the_devices": {name: why for name, why in others.items() if name not in allowed},
    }
