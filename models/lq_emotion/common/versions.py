"""The versions of Python and of the packages that compute."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("caffe-compat", "torch", "numpy", "scipy", "h5py", "opencv-python", "av")


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of these packages; None for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
