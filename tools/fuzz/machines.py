"""What is fuzzed with sequences of calls: hypothesis state machines, each with a model of what is right.

To add one: write a ``RuleBasedStateMachine`` and put it into ``MACHINES``.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from targets import CONTENT, LIMITS, RECORD, Bench

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Request, Type
from gnetsegd.link.header import pack_message
from gnetsegd.link.model_upload import pack_chunk
from gnetsegd.link.requests import Status, pack_epoch, parse_status

PIXELS = st.binary(min_size=32, max_size=32)


class EngineMachine(RuleBasedStateMachine):
    """A host that keeps the rules, on a cable that does not: every frame within its credits is
    answered by its own mask, whatever happened before."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.in_flight = 0
        self.answered = 0
        self.epoch = 0

    @initialize(bits=st.sampled_from([1, 2, 4, 8]), crc=st.booleans())
    def begin(self, bits: int, crc: bool) -> None:
        self.hello(bits, crc)

    @rule(bits=st.sampled_from([1, 2, 4, 8]), crc=st.booleans())
    def hello(self, bits: int, crc: bool) -> None:
        self.epoch += 1
        self.bench.hello(self.epoch, bits, int(crc))
        self.in_flight = 0

    @rule(pixels=PIXELS)
    def frame(self, pixels: bytes) -> None:
        if self.in_flight < LIMITS.slots:
            self.bench.feed(self.bench.frame(pixels))
            self.in_flight += 1

    @rule()
    def compute(self) -> None:
        self.bench.compute()

    @rule()
    def collect(self) -> None:
        before = self.bench.results
        self.bench.drain()
        assert self.bench.results - before == self.in_flight, "a frame went without its mask"
        self.in_flight = 0

    def abort(self) -> None:
        self.epoch += 1
        self.bench.control(Request.ABORT, pack_epoch(self.epoch))
        self.bench.epoch = self.epoch
        self.in_flight = 0

    @rule()
    def abort_alone(self) -> None:
        self.abort()

    @rule(pixels=PIXELS, cut=st.integers(1, 60))
    def abort_in_mid_transfer(self, pixels: bytes, cut: int) -> None:
        if self.in_flight < LIMITS.slots:
            message = self.bench.frame(pixels)
            self.bench.feed(message[: min(cut, len(message) - 1)])
        self.abort()

    @rule()
    def abort_while_computing(self) -> None:
        job = self.bench.engine.take_job()
        self.abort()
        if job:
            job.run()
            self.bench.engine.finish(job)

    @rule(junk=st.binary(min_size=32, max_size=200).filter(lambda junk: junk[:2] != b"GS"))
    def junk(self, junk: bytes) -> None:
        self.bench.drain()
        self.bench.feed(junk)
        self.bench.drain()
        self.abort()

    @rule()
    def soft_reset(self) -> None:
        self.bench.control(Request.SOFT_RESET, b"")
        self.hello(8, False)

    @rule()
    def power(self) -> None:
        self.bench.engine.power_cycle()
        self.bench.pictures.clear()
        self.bench.sequence = 1
        self.hello(8, False)

    def model_request(self, kind: Type, payload: bytes) -> None:
        message = pack_message(kind, self.bench.epoch, self.bench.sequence, payload, flags=c.FLAG_CRC)
        self.bench.sequence += 1
        self.bench.feed(message)
        self.bench.drain()

    @rule()
    def commit_the_model_that_it_has(self) -> None:
        self.collect()
        self.model_request(Type.MODEL_BEGIN, RECORD.pack())
        self.model_request(Type.MODEL_COMMIT, RECORD.sha256)

    @rule(size=st.integers(1, 64), content=st.binary(min_size=1, max_size=200))
    def begin_another_model(self, size: int, content: bytes) -> None:
        """All but its COMMIT, or with a wrong hash: the model that serves must not notice."""
        self.collect()
        other = replace(RECORD, sha256=bytes(32), size=len(content))
        self.model_request(Type.MODEL_BEGIN, other.pack())
        for offset in range(0, len(content), size):
            self.model_request(Type.MODEL_CHUNK, pack_chunk(offset, content[offset : offset + size]))
        self.model_request(Type.MODEL_COMMIT, bytes(32))

    @rule(offset=st.integers(0, 40), size=st.integers(0, 64))
    def chunk_out_of_place(self, offset: int, size: int) -> None:
        self.collect()
        self.model_request(Type.MODEL_CHUNK, pack_chunk(offset, CONTENT[:size].ljust(size, b"x")))

    def status(self) -> Status:
        return parse_status(self.bench.engine.control_in(Request.GET_STATUS, 512))

    @invariant()
    def the_session_is_the_hosts(self) -> None:
        status = self.status()
        if self.epoch:
            assert status.epoch == self.epoch
            assert status.in_flight == self.in_flight
            assert status.model_id == RECORD.model_id


MACHINES = {"engine-machine": EngineMachine}
