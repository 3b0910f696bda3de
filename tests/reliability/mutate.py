"""Recordings made wrong in seeded ways: cut, flipped, spliced, with wrong headers and sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

HEAD_BYTES = 512
"""Where most containers keep their sizes and types."""

Mutation = Callable[[bytearray, bytes, random.Random], bytes]


def cut(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """The end is missing."""
    return bytes(data[: rand.randrange(len(data))])


def flip(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """Single bits are wrong, anywhere."""
    for _ in range(rand.choice((1, 8, 64, 512))):
        data[rand.randrange(len(data))] ^= 1 << rand.randrange(8)
    return bytes(data)


def flip_head(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """Bytes of the header are anything."""
    for _ in range(rand.randint(1, 16)):
        data[rand.randrange(min(HEAD_BYTES, len(data)))] = rand.randrange(256)
    return bytes(data)


def splice(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """A piece of another recording is in the middle."""
    at, start = rand.randrange(len(data)), rand.randrange(len(other))
    data[at:at] = other[start : start + rand.randrange(1, 20_000)]
    return bytes(data)


def swap_head(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """The beginning is that of another recording, perhaps of another kind."""
    length = rand.choice((4, 32, 512, 4096))
    return other[:length] + bytes(data[length:])


def blank(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """A part was never written, as a download with holes leaves it."""
    at = rand.randrange(len(data))
    length = rand.randrange(1, 30_000)
    data[at : at + length] = bytes(len(data[at : at + length]))
    return bytes(data)


def repeat(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """A part is there twice, or many times."""
    at = rand.randrange(len(data))
    part = bytes(data[at : at + rand.randrange(1, 5000)])
    return bytes(data[:at]) + part * rand.choice((2, 30)) + bytes(data[at:])


def huge_size(data: bytearray, other: bytes, rand: random.Random) -> bytes:
    """Four bytes claim a size of gigabytes."""
    at = rand.randrange(max(1, len(data) - 4))
    data[at : at + 4] = rand.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"))
    return bytes(data)


MUTATIONS: tuple[Mutation, ...] = (
    cut, flip, flip_head, splice, swap_head, blank, repeat, huge_size,
)  # fmt: skip


def mutated(originals: list[Path], number: int) -> tuple[str, bytes]:
    """(name, content) of mutation `number`; the same number gives the same bytes.

    The originals take turns, and each meets every kind of mutation: `len(originals) * n`
    numbers in a row make n mutations of each.
    """
    rand = random.Random(number)
    path, other = originals[number % len(originals)], rand.choice(originals)
    mutation = MUTATIONS[number // len(originals) % len(MUTATIONS)]
    content = mutation(bytearray(path.read_bytes()), other.read_bytes(), rand)
    if rand.random() < 0.2:
        content = rand.choice(MUTATIONS)(bytearray(content or b"x"), other.read_bytes(), rand)
    return f"{number:06}-{mutation.__name__}-{path.stem}{path.suffix}", content
