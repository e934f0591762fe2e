"""Run joblib's work on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caffe_compat.errors import DataError


@contextmanager
def dask_workers(address: str) -> Iterator[None]:
    """Let `joblib.Parallel` use the workers of a Dask scheduler, within the context.

    Parameters
    ----------
    address : of the scheduler, such as ``tcp://host:8786``.

    Raises
    ------
    DataError
        The package distributed is missing, or no scheduler answers.
    """
    import joblib

    try:
        from distributed import Client
    except ImportError:
        raise DataError(
            "needs the package distributed", code="dependency-missing", field="--cluster", value=address,
            hint="pip install distributed",
        ) from None  # fmt: skip
    try:
        client = Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise DataError(
            f"no Dask scheduler answered: {error}", code="worker-lost", field="--cluster", value=address
        ) from None
    with client, joblib.parallel_config(backend="dask"):
        yield
