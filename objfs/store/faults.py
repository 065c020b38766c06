"""A device that fails on command: a wrapper of the same type as what it wraps.

A `Fault` fails the n-th call of a method from now on, once or for ever, with an errno; a write may
leave its first bytes. `crash_at` stops the process at the n-th call of any method: that call and
every later one raise `Crash`, and the wrapped device keeps what it had: the tests look at it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from objfs.store.device import Device, DeviceFile, Space
from objfs.store.format import Buffer


class Crash(Exception):
    """The process is dead. Not an OSError: nobody handles it."""


@dataclass
class Fault:
    """Calls number `at` (from 1) of `method` fails; with `lasting` all later ones too. `written`
    bytes of a failing write reach the device."""

    method: str
    errno: int
    at: int = 1
    lasting: bool = False
    written: int = 0


@dataclass
class FaultPlan:
    """What goes wrong, and what was called so far."""

    faults: list[Fault] = field(default_factory=list)
    crash_at: int = 0  # number of the call, of any method, from 1; 0: never
    crash_written: int = 0  # bytes of the write it stops in that reach the device
    calls: list[str] = field(default_factory=list)
    crashed: bool = False

    def add(
        self, method: str, errno: int, at: int = 1, lasting: bool = False, written: int = 0
    ) -> None:
        """A fault that counts calls from now on."""
        done = self.calls.count(method)
        self.faults.append(Fault(method, errno, done + at, lasting, written))

    def call(self, method: str) -> Fault | None:
        """Count a call. Raises what the plan says; a fault of a write is returned instead, so
        that its first bytes can be written before."""
        if self.crashed:
            raise Crash(f"{method} after the crash")
        self.calls.append(method)
        if len(self.calls) == self.crash_at:
            self.crashed = True
            if method != "write":
                raise Crash(f"call {self.crash_at}: {method}")
            return Fault(method, 0, written=self.crash_written)
        number = self.calls.count(method)
        for fault in self.faults:
            if fault.method == method and (
                number == fault.at or (fault.lasting and number > fault.at)
            ):
                if method != "write":
                    raise OSError(fault.errno, os.strerror(fault.errno))
                return fault
        return None


class FaultyFile:
    """A file of a `FaultyDevice`."""

    def __init__(self, file: DeviceFile, plan: FaultPlan) -> None:
        self._file = file
        self._plan = plan

    def read(self, offset: int, length: int) -> bytes:
        self._plan.call("read")
        return self._file.read(offset, length)

    def read_into(self, offset: int, buffers: Sequence[bytearray | memoryview]) -> int:
        self._plan.call("read")
        return self._file.read_into(offset, buffers)

    def read_into_nowait(self, offset: int, buffers: Sequence[bytearray], length: int) -> bool:
        self._plan.call("read")
        return self._file.read_into_nowait(offset, buffers, length)

    def write(self, offset: int, buffers: Sequence[Buffer], length: int) -> None:
        fault = self._plan.call("write")
        if fault is None:
            self._file.write(offset, buffers, length)
            return
        part = b"".join(buffers)[: fault.written]
        if part:
            self._file.write(offset, [part], len(part))
        if self._plan.crashed:
            raise Crash(f"in a write of {length} bytes, after {len(part)}")
        raise OSError(fault.errno, os.strerror(fault.errno))

    def truncate(self, length: int) -> None:
        self._plan.call("truncate")
        self._file.truncate(length)

    def forget(self, offset: int, length: int) -> None:
        self._file.forget(offset, length)

    def size(self) -> int:
        self._plan.call("size")
        return self._file.size()

    def sync(self) -> None:
        self._plan.call("sync")
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class FaultyDevice:
    """A device whose calls, and those of its files, go through a `FaultPlan`."""

    def __init__(self, device: Device, plan: FaultPlan) -> None:
        self._device = device
        self._plan = plan

    def names(self) -> list[str]:
        self._plan.call("names")
        return self._device.names()

    def create(self, name: str) -> FaultyFile:
        self._plan.call("create")
        return FaultyFile(self._device.create(name), self._plan)

    def open(self, name: str, writable: bool) -> FaultyFile:
        self._plan.call("open")
        return FaultyFile(self._device.open(name, writable), self._plan)

    def remove(self, name: str) -> None:
        self._plan.call("remove")
        self._device.remove(name)

    def sync_names(self) -> None:
        self._plan.call("sync_names")
        self._device.sync_names()

    def space(self) -> Space:
        self._plan.call("space")
        return self._device.space()
