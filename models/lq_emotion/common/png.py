"""Check that bytes are a complete PNG."""

from __future__ import annotations

_PNG = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Tell whether these bytes are a complete PNG file."""
    return data.startswith(_PNG) and data[12:16] == b"IHDR" and data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
