"""PNG files that may be missing or truncated."""

from __future__ import annotations

from pathlib import Path

_PNG = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Tell whether these bytes are a complete PNG file."""
    return data.startswith(_PNG) and data[12:16] == b"IHDR" and data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")


def read_png(path: Path) -> bytes | None:
    """Return the bytes of an image; None if it is missing or truncated."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if is_png(data) else None
