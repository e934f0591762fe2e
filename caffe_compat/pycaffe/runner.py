"""Run a script, a module or code as Python itself would, with ``import caffe`` finding this package."""

from __future__ import annotations

import io
import os
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from caffe_compat.errors import CaffeCompatError
from caffe_compat.pycaffe import mode
from caffe_compat.pycaffe.finder import install

USAGE = """\
usage: python -m caffe_compat.pycaffe SCRIPT [ARGS...]
       python -m caffe_compat.pycaffe -m MODULE [ARGS...]
       python -m caffe_compat.pycaffe -c CODE [ARGS...]

Runs a script as `python SCRIPT` would, but `import caffe` finds caffe_compat.pycaffe. `-m pytest FOLDER` runs tests.
Put `--fork=NAME` first to name the fork of Caffe that the script's nets were written for (docs/forks.md).
"""
_OWN_FILES = {__file__, runpy.__file__, "<frozen runpy>", "<frozen importlib._bootstrap>"}
# Messages of the parser, and patterns of lines, that reveal a script written for Python 2.
_PYTHON_2_PROBLEMS = (
    "Missing parentheses in call to",
    "multiple exception types must be parenthesized",
    "leading zeros in",
)
_PYTHON_2_LINES = re.compile(
    r"""^\s*(print\s*(["'\w>]|$)|exec\s+["'\w]|raise\s+\w+\s*,|except\s+[\w.]+\s*,)|<>|`|\b\d+L\b|\b0\d+\b"""
)
_main: ModuleType | None = None  # the running module, kept alive until the interpreter exits


def main(argv: Sequence[str]) -> int:
    """Run a script, a module or code.

    Parameters
    ----------
    argv : a script's path, ``-m`` and a module, or ``-c`` and code; then the arguments of the script.

    Returns
    -------
    0 on success, 1 after an exception, 2 for wrong usage; ``SystemExit`` propagates.
    """
    if argv and argv[0].startswith("--fork="):
        previous = mode.forks()
        try:
            mode.set_forks((*previous, argv[0].removeprefix("--fork=")))
        except CaffeCompatError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        try:
            return main(argv[1:])
        finally:
            mode.set_forks(previous)
    if not argv or argv[0] in ("-h", "--help"):
        (sys.stdout if argv else sys.stderr).write(USAGE)
        return 0 if argv else 2
    first, rest = argv[0], list(argv[1:])
    if first in ("-m", "-c") and not rest:
        sys.stderr.write(f"{USAGE}error: {first} needs {'a module' if first == '-m' else 'code'}\n")
        return 2
    if first.startswith("-") and first not in ("-m", "-c"):
        sys.stderr.write(f"{USAGE}error: unknown option {first}\n")
        return 2
    try:
        install()
    except CaffeCompatError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    _shim_subprocesses()
    if first == "-m":
        return _report_exceptions(lambda: _run_module(rest[0], rest[1:]))
    if first == "-c":
        return _report_exceptions(lambda: _run_code(rest[0], rest[1:]))
    if not Path(first).exists():
        sys.stderr.write(f"python -m caffe_compat.pycaffe: can't open file {first!r}: no such file\n")
        return 2
    return _report_exceptions(lambda: _run_script(first, rest))


def _shim_subprocesses() -> None:
    """Make ``import caffe`` find this package in child processes (``multiprocessing``, ``subprocess``) as well."""
    folder = str(Path(__file__).with_name("subprocess_shim"))
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != folder]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *inherited])
    if folder not in sys.path:
        sys.path.append(folder)  # inherited by multiprocessing; not searched for caffe in this process


def _run_script(path: str, arguments: list[str]) -> None:
    sys.argv[:] = [path, *arguments]
    if Path(path).is_dir() or not _is_source(path):
        _set_search_path(None)
        runpy.run_path(path, run_name="__main__")  # a folder or zip file with __main__.py, or a .pyc
        return
    _set_search_path(str(Path(path).resolve().parent))
    with io.open_code(str(Path(path).absolute())) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    module = _new_main()
    module.__file__ = path
    module.__loader__ = SourceFileLoader("__main__", path)
    exec(code, module.__dict__)  # noqa: S102  (the user's script)


def _is_source(path: str) -> bool:
    with Path(path).open("rb") as file:
        return b"\0" not in file.read(512)


def _run_code(code: str, arguments: list[str]) -> None:
    sys.argv[:] = ["-c", *arguments]
    _set_search_path("")
    exec(compile(code, "<string>", "exec", dont_inherit=True), _new_main().__dict__)  # noqa: S102


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv[:] = [name, *arguments]
    _set_search_path(str(Path.cwd()))
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _new_main() -> ModuleType:
    global _main  # noqa: PLW0603
    _main = ModuleType("__main__")
    _main.__dict__.update(__builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = _main
    return _main


def _set_search_path(folder: str | None) -> None:
    """Search `folder` first for imports, in place of the current folder that ``-m`` put there."""
    if sys.flags.safe_path:
        return
    if folder is None:
        del sys.path[0]
    else:
        sys.path[0] = folder


def _report_exceptions(run: Callable[[], None]) -> int:
    """Run; print an exception as Python would, without the frames above the script's."""
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  (printed, not lost)
        error.__traceback__ = _script_frames(error.__traceback__)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        sys.excepthook(type(error), error, error.__traceback__)
        hint = _python_2_hint(error)
        if hint:
            sys.stderr.write(hint)
        return 1
    return 0


def _script_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the script's first frame on."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename in _OWN_FILES:
        traceback = traceback.tb_next
    return traceback


def _python_2_hint(error: BaseException) -> str | None:
    """Return a hint if a file does not parse because it was written for Python 2."""
    if not isinstance(error, SyntaxError):
        return None
    problem, line = error.msg or "", error.text or ""
    if not (
        isinstance(error, TabError)
        or any(p in problem for p in _PYTHON_2_PROBLEMS)
        or _PYTHON_2_LINES.search(line.split("#")[0])
    ):
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"caffe_compat.pycaffe: {error.filename}, line {error.lineno}, looks like Python 2; this is Python {version}.\n"
        f"  Convert it once: `2to3 -w -n {error.filename}` (2to3 came with Python up to 3.12).\n"
    )
