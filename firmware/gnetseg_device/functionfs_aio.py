"""Several transfers of one endpoint in the kernel at once: Linux's asynchronous I/O (io_submit(2)).

FunctionFS lets no second thread into an endpoint while a ``read`` or ``write`` of it is under way, so
threads cannot post transfers ahead; asynchronous ones it queues at once. The system calls are made by
number: glibc has no functions for them, and what a board needs beside Python stays as it was.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections import deque
from enum import IntEnum

from gnetsegd.errors import PermanentError


class Operation(IntEnum):
    """What a queue does with its buffers."""

    READ = 0
    WRITE = 1


class _Iocb(ctypes.Structure):
    """struct iocb of linux/aio_abi.h, little-endian."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("file", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event of the same file."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("iocb", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


#: The numbers of io_setup, io_destroy, io_getevents, io_submit, io_cancel.
_X86_64, _ARM, _GENERIC = (206, 207, 208, 209, 210), (243, 244, 245, 246, 247), (0, 1, 4, 2, 3)
#: By machine and size of a pointer: a 32-bit system may run on a 64-bit kernel.
_NUMBERS = {
    ("x86_64", 8): _X86_64,
    ("aarch64", 8): _GENERIC,
    ("riscv64", 8): _GENERIC,
    ("aarch64", 4): _ARM,
    ("armv7l", 4): _ARM,
    ("armv6l", 4): _ARM,
}
_libc = ctypes.CDLL(None, use_errno=True)


def _numbers() -> tuple[int, int, int, int, int]:
    machine = os.uname().machine
    try:
        return _NUMBERS[machine, struct.calcsize("P")]
    except KeyError:
        raise PermanentError(
            f"the numbers of the system calls for asynchronous I/O are not known for {machine}; "
            "add them to functionfs_aio.py",
            os.EX_UNAVAILABLE,
        ) from None


def _call(number: int, *arguments: object) -> int:
    """A system call that releases the GIL; raises OSError."""
    while True:
        result = int(_libc.syscall(ctypes.c_long(number), *arguments))
        if result >= 0:
            return result
        if ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Queue:
    """Up to ``depth`` transfers of ``file`` under way, all reads or all writes, oldest first.

    One thread submits and takes; ``cancel`` may be called from another, though not during ``submit``:
    it would miss that transfer. Raises OSError, and ``PermanentError`` on a machine that it does not know.
    """

    def __init__(self, file: int, operation: Operation, depth: int) -> None:
        self._setup, self._destroy, self._getevents, self._submit, self._cancel = _numbers()
        self._file, self._operation, self._depth = file, operation, depth
        self._pending: deque[tuple[_Iocb, memoryview]] = deque()
        self._results: dict[int, int] = {}
        self._context = ctypes.c_ulong(0)
        _call(self._setup, ctypes.c_uint(depth), ctypes.byref(self._context))

    @property
    def full(self) -> bool:
        """No further one may be submitted before one is taken."""
        return len(self._pending) == self._depth

    @property
    def pending(self) -> int:
        """How many are under way or wait to be taken."""
        return len(self._pending)

    def submit(self, buffer: memoryview) -> None:
        """Begin a transfer of the writable ``buffer``, which is the kernel's until it is taken."""
        assert not self.full
        place = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        iocb = _Iocb(
            opcode=self._operation, file=self._file, buffer=ctypes.addressof(place), length=len(buffer)
        )
        iocb.data = ctypes.addressof(iocb)
        _call(self._submit, self._context, ctypes.c_long(1), ctypes.byref(ctypes.pointer(iocb)))
        self._pending.append((iocb, buffer))

    def take(self) -> memoryview:
        """Wait for the oldest one to end; what of its buffer was moved. OSError if it failed."""
        iocb, buffer = self._pending[0]
        key = ctypes.addressof(iocb)
        event = _Event()
        while key not in self._results:
            _call(
                self._getevents, self._context, ctypes.c_long(1), ctypes.c_long(1), ctypes.byref(event), None
            )
            self._results[event.data] = event.result
        self._pending.popleft()
        result = self._results.pop(key)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return buffer[:result]

    def cancel(self) -> None:
        """Ask the kernel to end all that are under way; they are to be taken all the same."""
        for iocb, _ in tuple(self._pending):
            try:
                _call(self._cancel, self._context, ctypes.byref(iocb), ctypes.byref(_Event()))
            except OSError:
                continue  # EINPROGRESS: it will end; EINVAL: it has

    def close(self) -> None:
        """Cancel what is under way and wait for it."""
        context, self._context = self._context, ctypes.c_ulong(0)
        if context.value:
            _call(self._destroy, context)
        self._pending.clear()
