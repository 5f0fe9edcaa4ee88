"""Writes a PNG of 96 x 96 pixels: a red square on white."""

import struct
import sys
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def pixel(x: int, y: int) -> bytes:
    return b"\xdc\x1e\x1e" if 24 <= x < 72 and 24 <= y < 72 else b"\xff\xff\xff"


rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(96)) for y in range(96))
header = struct.pack(">IIBBBBB", 96, 96, 8, 2, 0, 0, 0)
with open(sys.argv[1], "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
