"""The scripts from the command line: ``python -m matlab_ports generate_train --folder Train --savepath train.h5``."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence

from matlab_ports.errors import PortError
from matlab_ports.generate_test import generate_test
from matlab_ports.generate_train import Written, generate_train
from matlab_ports.randstream import RandStream

_SCRIPTS: dict[str, Callable[..., Written]] = {"generate_train": generate_train, "generate_test": generate_test}
_HELP = {
    "folder": "where the pictures are",
    "savepath": "the HDF5 file to write; its folder must exist",
    "size_input": "side of an input patch",
    "size_label": "side of a label patch",
    "scale": "how much pictures are shrunk and enlarged again",
    "stride": "distance between patches",
    "chunksz": "samples per chunk; what does not fill one is dropped",
    "pattern": "which files of the folder are pictures",
    "gray": "what to do with a gray picture: stop, as MATLAB does, or repeat its plane",
}


def _parser() -> argparse.ArgumentParser:
    """Options are the scripts' own variable names, defaults their values."""
    parser = argparse.ArgumentParser(prog="python -m matlab_ports", description="The authors' MATLAB scripts.")
    commands = parser.add_subparsers(dest="script", required=True, metavar="|".join(_SCRIPTS))
    for name, script in _SCRIPTS.items():
        options = commands.add_parser(
            name,
            help=(script.__doc__ or "").splitlines()[0],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            epilog="Two scripts of one MATLAB session share a random stream: give the second the --stream-position the "
            "first one printed.",
        )
        for parameter in inspect.signature(script).parameters.values():
            if parameter.name == "stream":
                continue
            kind = type(parameter.default)
            choices = ("error", "repeat") if parameter.name == "gray" else None
            text = _HELP[parameter.name]
            options.add_argument(
                f"--{parameter.name}", type=kind, default=parameter.default, choices=choices, help=text
            )
        options.add_argument("--seed", type=int, default=0, help="as for rng; 0 is a MATLAB just started")
        options.add_argument("--stream-position", type=int, default=0, help="random numbers drawn before this script")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script; 0 when it is done, 1 when it failed, 2 for an option that does not exist."""
    options = vars(_parser().parse_args(arguments))
    script = _SCRIPTS[options.pop("script")]
    try:
        stream = RandStream(options.pop("seed"), position=options.pop("stream_position"))
        done = script(stream=stream, **options)
    except (PortError, OSError) as error:
        print(f"matlab_ports: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("matlab_ports: interrupted, nothing was written", file=sys.stderr)
        return 130
    print(
        f"{done.savepath}: {done.written} of {done.patches} patches from {done.images} pictures; "
        f"the random stream stands at {done.position}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
