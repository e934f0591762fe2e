"""``caffe-compat``: the engine from the command line, with the flags of Caffe's own binary."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from caffe_compat.cli.parser import OUTPUTS, parse
from caffe_compat.errors import CaffeCompatError, printable
from caffe_compat.formats.regular_file import protected_inputs
from caffe_compat_base.streams import leave_ascii, with_streams


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : arguments without the program's name; those of the process by default.

    Returns
    -------
    0, 1 if the command failed (an error on stderr, no traceback), 2 for wrong usage, 130 after Ctrl-C.
    """
    if argv is None:
        leave_ascii()
    return with_streams("caffe-compat", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        arguments = {name: value for name, value in vars(args).items() if name != "argv"}
        with protected_inputs(arguments, OUTPUTS.get(arguments.get("command", ""), ())):
            code: int = args.run(args)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except CaffeCompatError as error:
        return _fail(str(_name_flags(error)))
    except OSError as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        return _fail(f"out of memory: {str(error).splitlines()[0]} (reduce batch_size)")
    return code


def _name_flags(error: CaffeCompatError) -> CaffeCompatError:
    """Let hints name the flag in place of the function's argument."""
    for problem in error.problems:
        if problem.hint and "input_shapes" in problem.hint:
            problem.hint = "pass --input=BLOB=N,C,H,W or use a deploy prototxt"
        elif problem.hint:
            problem.hint = re.sub("fork='([a-z0-9-]+)'", r"--fork=\1", problem.hint)
    return error


def _is_lack_of_memory(error: Exception) -> bool:
    """Tell whether NumPy, torch on the CPU or torch on a GPU ran out of memory."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _fail(problem: str, code: int = 1) -> int:
    text = printable(problem, keep="\n\t")
    sys.stderr.write(f"caffe-compat: error: {text}\n")
    return code
