"""Recognise files of other formats by their first bytes."""

from __future__ import annotations

_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive, perhaps a PyTorch or NumPy file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"MATLAB ", "a MATLAB file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched (git lfs pull)"),
)
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")


def recognise_format(head: bytes) -> str | None:
    """Return the format of a file that begins with `head`, or None for a file that may be Caffe's."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, perhaps a PyTorch file"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[8:10] == b'{"' and head[4:8] == bytes(4):
        return "a safetensors file"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_MARKUP):
        return "a web page, perhaps an error page saved in place of a download"
    return None


def is_text(head: bytes) -> bool:
    """Whether `head` is text: no control characters, and UTF-8 or mostly ASCII."""
    if any((byte < 32 and byte not in b"\t\n\v\f\r") or byte == 127 for byte in head):
        return False
    try:
        head[:-3].decode()
    except UnicodeDecodeError:
        return sum(byte > 127 for byte in head) * 4 < len(head)
    return True


def guess_content(head: bytes, expected: str) -> str | None:
    """Return what a file that is not a binary message of type `expected` might be, or None."""
    if is_text(head):
        return "it looks like text, perhaps a prototxt"
    first = head[:1]
    if expected == "NetParameter" and first == b"\x08":
        return "it looks like a solverstate or a mean image, not like weights"
    if expected != "NetParameter" and first in (b"\x0a", b"\xa2"):
        return "it looks like weights, a caffemodel"
    return None
