"""Run a script, a module or a line of code as Python itself would, with ``import caffe`` finding this package."""

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

Runs a script as `python SCRIPT` would; `import caffe` finds caffe_compat.pycaffe. `-m pytest FOLDER` runs tests so.
`--fork=NAME` before it all names the fork of Caffe that the script's nets are for (docs/forks.md).
"""
_OURS = {__file__, runpy.__file__, "<frozen runpy>", "<frozen importlib._bootstrap>"}
# What the parser says, and what lines look like, where a script was written for Python 2.
_OLD_PROBLEMS = ("Missing parentheses in call to", "multiple exception types must be parenthesized", "leading zeros in")
_OLD_LINES = re.compile(
    r"""^\s*(print\s*(["'\w>]|$)|exec\s+["'\w]|raise\s+\w+\s*,|except\s+[\w.]+\s*,)|<>|`|\b\d+L\b|\b0\d+\b"""
)
_main: ModuleType | None = None  # what runs; kept, for what still looks at it when the interpreter ends


def main(argv: Sequence[str]) -> int:
    """Run what the arguments say.

    Parameters
    ----------
    argv : a script's path, ``-m`` and a module, or ``-c`` and code; then the arguments of that.

    Returns
    -------
    0 when it ran through, 1 after an exception, 2 for wrong usage; ``SystemExit`` passes through.
    """
    if argv and argv[0].startswith("--fork="):
        named = mode.forks()
        try:
            mode.set_forks((*named, argv[0].removeprefix("--fork=")))
        except CaffeCompatError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        try:
            return main(argv[1:])
        finally:
            mode.set_forks(named)
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
        return _guarded(lambda: _module(rest[0], rest[1:]))
    if first == "-c":
        return _guarded(lambda: _code(rest[0], rest[1:]))
    if not Path(first).exists():
        sys.stderr.write(f"python -m caffe_compat.pycaffe: can't open file {first!r}: no such file\n")
        return 2
    return _guarded(lambda: _script(first, rest))


def _shim_subprocesses() -> None:
    """Let processes that the script starts (``multiprocessing``, ``subprocess``) find this package as caffe too."""
    folder = str(Path(__file__).with_name("subprocess_shim"))
    before = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != folder]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *before])
    if folder not in sys.path:
        sys.path.append(folder)  # multiprocessing hands this list on; here it is never looked at for caffe


def _script(path: str, arguments: list[str]) -> None:
    sys.argv[:] = [path, *arguments]
    if Path(path).is_dir() or not _is_source(path):
        _search(None)
        runpy.run_path(path, run_name="__main__")  # a folder or zip file with __main__.py, or a .pyc
        return
    _search(str(Path(path).resolve().parent))
    with io.open_code(str(Path(path).absolute())) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    module = _new_main()
    module.__file__ = path
    module.__loader__ = SourceFileLoader("__main__", path)
    exec(code, module.__dict__)  # noqa: S102  (this is what the user asked for)


def _is_source(path: str) -> bool:
    with Path(path).open("rb") as file:
        return b"\0" not in file.read(512)


def _code(code: str, arguments: list[str]) -> None:
    sys.argv[:] = ["-c", *arguments]
    _search("")
    exec(compile(code, "<string>", "exec", dont_inherit=True), _new_main().__dict__)  # noqa: S102


def _module(name: str, arguments: list[str]) -> None:
    sys.argv[:] = [name, *arguments]
    _search(str(Path.cwd()))
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _new_main() -> ModuleType:
    global _main  # noqa: PLW0603
    _main = ModuleType("__main__")
    _main.__dict__.update(__builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = _main
    return _main


def _search(folder: str | None) -> None:
    """Let imports look in `folder` first, where they looked in the current one for the sake of ``-m``."""
    if sys.flags.safe_path:
        return
    if folder is None:
        del sys.path[0]
    else:
        sys.path[0] = folder


def _guarded(run: Callable[[], None]) -> int:
    """Run; print an exception as Python would, without what lies between it and the script."""
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  (it is shown, not lost)
        error.__traceback__ = _theirs(error.__traceback__)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        sys.excepthook(type(error), error, error.__traceback__)
        hint = _old_python(error)
        if hint:
            sys.stderr.write(hint)
        return 1
    return 0


def _theirs(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is the script's."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename in _OURS:
        traceback = traceback.tb_next
    return traceback


def _old_python(error: BaseException) -> str | None:
    """Say so where a file does not parse because it was written for Python 2."""
    if not isinstance(error, SyntaxError):
        return None
    problem, line = error.msg or "", error.text or ""
    if not (
        isinstance(error, TabError) or any(p in problem for p in _OLD_PROBLEMS) or _OLD_LINES.search(line.split("#")[0])
    ):
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"caffe_compat.pycaffe: {error.filename}, line {error.lineno}, looks like Python 2; this is Python {version}.\n"
        f"  Convert it once: `2to3 -w -n {error.filename}` (2to3 came with Python up to 3.12).\n"
    )
