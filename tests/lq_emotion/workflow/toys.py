"""The work of toy stages, in a module that a process imports at once."""

import os
import time

from caffe_compat.errors import DataError


def write(path, seconds=0.0):
    with path.with_suffix(".runs").open("a") as file:
        file.write(f"{os.getppid()}\n")
    time.sleep(seconds)
    path.write_text(path.name)


def fail(path):
    raise DataError("cannot be used", code="invalid", file=path)
