"""The judge of the recovery bench can say no: each kind of wrong mask, silence and untruth is seen."""

from __future__ import annotations

import judge
import numpy as np
import pytest
from judge import Checker, Mask, Status

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.message import MaskHeader, pack_header, pack_mask
from gnetsegd.testing.road import Pictures

FPS = 30.0
SPEC = FrameSpec(30, 32)
EXPOSED_NS = 123_456_789


def message(
    exposed_ns: int = EXPOSED_NS, *, shown_ns: int | None = None, sequence: int = 7, bits: int = 1
) -> bytes:
    """A mask message; ``shown_ns``: of the picture that the mask is really made from."""
    labels = judge.expected_labels(Pictures(SPEC), exposed_ns if shown_ns is None else shown_ns)
    mask = MaskFormat(SPEC.width, SPEC.height, bits, 2)
    header = MaskHeader(
        "cam0", mask, sequence, 1, exposed_ns, exposed_ns + 1, 0, 0, "usb", bytes(16), False, 0,
        mask.size_bytes,
    )  # fmt: skip
    return pack_header(header) + bytes(pack_mask(labels, bits))


@pytest.mark.parametrize("bits", [1, 8])
def test_a_mask_of_its_own_frame_is_right(bits: int) -> None:
    assert Checker(SPEC).check(message(bits=bits), 1.0).wrong == ""


def test_a_mask_of_another_frame_is_wrong() -> None:
    assert "not its own frame's" in Checker(SPEC).check(message(shown_ns=EXPOSED_NS + 1), 1.0).wrong


def test_one_wrong_pixel_is_wrong() -> None:
    data = bytearray(message(bits=8))
    data[-1] ^= 1
    assert "not its own frame's" in Checker(SPEC).check(bytes(data), 1.0).wrong


def test_set_padding_is_wrong() -> None:
    data = bytearray(message(bits=1))
    data[-1] |= 1  # 30 pixels: the last two bits of a row are none
    assert "behind the end of a row" in Checker(SPEC).check(bytes(data), 1.0).wrong


def test_a_sequence_that_does_not_rise_is_wrong() -> None:
    checker = Checker(SPEC)
    assert checker.check(message(sequence=8), 1.0).wrong == ""
    assert checker.check(message(sequence=8), 1.1).wrong == "it comes after 8"


def masks(
    begin: float, end: float, fps: float = FPS, backend: str = "usb", fallback: bool = False
) -> list[Mask]:
    """Right ones, from frame to frame."""
    times = np.arange(begin, end, 1 / fps)
    return [Mask(float(at), float(at) - 0.01, backend, fallback, 1, n) for n, at in enumerate(times)]


def test_the_wait_is_from_the_fault_to_the_first_right_mask() -> None:
    served = [*masks(0, 5), *masks(7, 20)]
    assert judge.longest_wait(served, 5.0, 19.9) == pytest.approx(2.0, abs=0.1)


def test_a_mask_that_was_on_its_way_at_the_fault_does_not_end_the_wait() -> None:
    on_its_way = Mask(5.1, 4.9, "usb", False, 1, 1)
    assert judge.longest_wait([on_its_way, *masks(7, 20)], 5.0, 19.9) == pytest.approx(2.0, abs=0.1)


def test_a_wrong_mask_does_not_end_the_wait() -> None:
    wrong = Mask(5.5, 5.4, "usb", False, 1, 1, "wrong")
    assert judge.longest_wait([wrong, *masks(7, 20)], 5.0, 19.9) == pytest.approx(2.0, abs=0.1)


def test_where_service_breaks_off_again_the_longest_break_counts() -> None:
    served = [*masks(5.5, 8), *masks(12, 20)]
    assert judge.longest_wait(served, 5.0, 19.9) == pytest.approx(4.0, abs=0.1)


def test_without_any_mask_the_wait_lasts_to_the_end() -> None:
    assert judge.longest_wait(masks(0, 5), 5.0, 20.0) == 15.0


def status(at: float, state: str = "running", backend: str = "usb", **more: object) -> Status:
    return Status(at, state, str(more.get("reason", "")), backend, bool(more.get("fallback", False)))


def test_a_truthful_daemon_tells_no_lies() -> None:
    served = [*masks(0, 10), *masks(16, 20)]
    said = [
        *(status(at) for at in (1, 5, 9.5, 11, 12)),
        *(status(at, "no-masks", reason="no mask came") for at in (13.1, 14, 15, 16.1)),
        *(status(at) for at in (17, 18, 19)),
    ]
    assert judge.lies(served, said, FPS, 0.0, 20.0) == []


def test_until_the_next_mask_the_last_one_says_what_serves() -> None:
    served = [*masks(0, 10), *masks(12, 20, backend="standin", fallback=True)]
    said = [status(11.5), status(13, backend="standin", fallback=True, reason="lost")]
    assert judge.lies(served, said, FPS, 0.0, 20.0) == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status(14.5), "no mask came for longer"),
        (status(8.0, "no-masks"), "masks came at their full rate"),
        (status(8.0, "no-camera"), "masks came at their full rate"),
        (status(8.0, backend="standin"), "the masks were of usb"),
        (status(8.0, fallback=True, reason="lost"), "the masks said otherwise"),
    ],
)
def test_each_untruth_is_seen(said: Status, words: str) -> None:
    found = judge.lies(masks(0, 10), [said], FPS, 0.0, 20.0)
    assert len(found) == 1
    assert words in found[0]


def test_a_fallback_without_a_reason_is_seen() -> None:
    served = masks(0, 10, backend="standin", fallback=True)
    found = judge.lies(served, [status(8.0, backend="standin", fallback=True)], FPS, 0.0, 20.0)
    assert found == ["8.0 s: status says running on a fallback without a reason"]


def test_a_trickle_of_masks_is_no_full_rate() -> None:
    said = [status(8.0, "no-masks", reason="few masks")]
    assert judge.lies(masks(0, 10, fps=3), said, FPS, 0.0, 20.0) == []
    assert judge.rate(masks(0, 10, fps=3), 5.0, 10.0) == pytest.approx(3, abs=0.5)


def test_a_silent_status_is_seen_while_the_process_lives_and_only_then() -> None:
    said = [status(at) for at in (1.0, 2.0, 8.0, 9.0)]
    assert judge.status_gaps(said, [(0.5, 10.0)]) == ["status was silent for 6.0 s"]
    assert judge.status_gaps(said, [(0.5, 2.5), (7.5, 10.0)]) == []


def test_a_watchdog_that_is_fed_without_masks_is_seen() -> None:
    served, said = masks(0, 5), [status(9.0)]
    assert len(judge.fed_for_nothing(served, said, [10.0], [0.0])) == 1
    assert judge.fed_for_nothing(served, said, [5.5], [0.0]) == []
    resting = [status(9.0, "no-camera", reason="unplugged")]
    assert judge.fed_for_nothing(served, resting, [10.0], [0.0]) == []
