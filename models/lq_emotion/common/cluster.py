"""Connect to a Dask cluster."""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import DataError


def connect(address: str, *, timeout: float = 10.0) -> Any:
    """Return a client of a Dask scheduler, a context manager, if it answers within `timeout` seconds."""
    try:
        from distributed import Client
    except ImportError:
        raise DataError(
            "needs the package distributed", code="dependency-missing", field="--cluster", value=address,
            hint="pip install distributed",
        ) from None  # fmt: skip
    try:
        return Client(address, timeout=timeout, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise DataError(
            f"no Dask scheduler answered: {error}", code="worker-lost", field="--cluster", value=address
        ) from None
