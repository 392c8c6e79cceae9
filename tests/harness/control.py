"""The test's end of the file that it shares with its inferior (inferiors/control.h)."""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pathlib

SIZE = 256 * 1024
LOG_OFFSET = 4096
WORDS = ("pid", "ready", "go", "done", "verify", "verified", "quit", "beats")
LONGS = ("base", "length", "sum", "spare")


class LogEntry(NamedTuple):
    address: int
    old: int
    new: int
    tid: int
    width: int

    @property
    def old_bytes(self) -> bytes:
        return self.old.to_bytes(8, "little")[: self.width]

    @property
    def new_bytes(self) -> bytes:
        return self.new.to_bytes(8, "little")[: self.width]


class Control:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.write_bytes(bytes(SIZE))
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._map = mmap.mmap(fd, SIZE)
        os.close(fd)

    def word(self, name: str) -> int:
        return struct.unpack_from("<I", self._map, WORDS.index(name) * 4)[0]

    def set_word(self, name: str, value: int) -> None:
        struct.pack_into("<I", self._map, WORDS.index(name) * 4, value)

    def long(self, name: str) -> int:
        return struct.unpack_from("<Q", self._map, 32 + LONGS.index(name) * 8)[0]

    def result(self, index: int) -> int:
        return struct.unpack_from("<q", self._map, 64 + index * 8)[0]

    def log(self, first: int, count: int) -> list[LogEntry]:
        return [
            LogEntry._make(struct.unpack_from("<QQQII", self._map, LOG_OFFSET + 32 * index))
            for index in range(first, first + count)
        ]

    @property
    def base(self) -> int:
        return self.long("base")

    @property
    def length(self) -> int:
        return self.long("length")

    def go(self) -> None:
        self.set_word("go", 1)

    def wait(self, name: str, value: int = 1, timeout: float = 30) -> None:
        """Wait until a word has at least ``value``."""
        deadline = time.monotonic() + timeout
        while self.word(name) < value:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the inferior's {name} stayed {self.word(name)}")
            time.sleep(0.002)

    def checksum(self, timeout: float = 60) -> int:
        """Have the running inferior sum its memory."""
        value = self.word("verify") + 1
        self.set_word("verify", value)
        self.wait("verified", value, timeout)
        return self.long("sum")

    def runs_on(self, timeout: float = 10) -> None:
        """Wait until the inferior has counted on, from now."""
        self.wait("beats", self.word("beats") + 3, timeout)
