"""Assert the code and the fields of an error, never its sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caffe_compat.errors import CaffeCompatError, ProblemsError


@contextmanager
def refused(code: str, **fields: object) -> Iterator[pytest.ExceptionInfo[CaffeCompatError]]:
    """Expect a CaffeCompatError with this code and these fields.

    Parameters
    ----------
    code : of `caffe_compat.errors.Code`.
    fields : `file` may be the file's name alone, and `hint` a part of the hint.
    """
    with pytest.raises(CaffeCompatError) as caught:
        yield caught
    error = caught.value
    assert "\n" not in str(error) or isinstance(error, ProblemsError)
    assert error.code == code, str(error)
    for name, expected in fields.items():
        value = getattr(error, name)
        if name == "file":
            assert str(expected) in (value, Path(value or "").name), str(error)
        elif name == "hint":
            assert str(expected) in (value or ""), str(error)
        else:
            assert value == expected, f"{name} = {value!r}: {error}"
