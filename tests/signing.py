"""The SHA-256 that verify.json ends with."""

from typing import Any

from lq_emotion.common.fingerprints import fingerprint


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a result with the hash over all other entries."""
    content = {key: value for key, value in content.items() if key != "sha256"}
    return {**content, "sha256": fingerprint(content)}
