"""A plugin of pytest: tests run on the kernels in the folder KERNELS, such as those that `make sanitize` builds."""

import os
from pathlib import Path


def pytest_configure() -> None:
    """Put the folder before the package's own."""
    from caffe_compat.kernels import fast
    from caffe_compat.kernels.fast import library

    fast.__path__.insert(0, str(Path(os.environ["KERNELS"]).resolve()))
    library._library.cache_clear()
    library.vector_lengths.cache_clear()


def pytest_report_header() -> str:
    """Say which file the kernels are in."""
    from caffe_compat.kernels.fast import library

    compiled = library._library()
    assert compiled is not None, "the kernels in the folder KERNELS are those of another version"
    assert Path(compiled._name).parent == Path(os.environ["KERNELS"]).resolve()
    return f"kernels: {compiled._name}"
