"""The scripts from the command line: ``python -m matlab_ports generate_train --folder Train --savepath train.h5``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

try:
    from matlab_ports._commands import evaluation
    from matlab_ports._support.errors import PortError
    from matlab_ports._support.streams import leave_ascii, with_streams
    from matlab_ports.generate_h5 import Options, WrittenH5, generate_h5
    from matlab_ports.generate_test import generate_test
    from matlab_ports.generate_train import Written, generate_train
    from matlab_ports.matfile import loadmat
    from matlab_ports.prepare_dataset import FILE_NAME as RECORDINGS
    from matlab_ports.prepare_dataset import prepare_dataset
    from matlab_ports.prepare_h5_files import FILE_NAME, prepare_h5_files
    from matlab_ports.randstream import RandStream
    from matlab_ports.writeh5file import writeh5file
except KeyboardInterrupt:
    if __name__ != "__main__":
        raise
    sys.stderr.write("matlab_ports: error: interrupted\n")
    sys.exit(130)

Say = Callable[[str], None]

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
    # generate_h5's options
    "mode": "single frames, or three consecutive ones as channels",
    "augmentation": "replace every frame by its mirror image",
    "mean_sub": "subtract the mean of the whole file",
    "norm": "divide by the standard deviation of the whole file",
    "split": "in multi mode, the number of files",
    "mix": "degrade every frame by a factor of mix_lr",
    "mix_lr": "the factors",
    "keep_clean": "with mix, the clean frames as well",
    "keep_unflipped": "with augmentation, the frames as they are as well",
    "mix_epochs": "with mix, passes over all frames, each with new factors",
    "mean": "subtract this instead of the file's own",
    "std": "divide by this instead of the file's own",
    "remainder": "what to do with samples that fill no chunk",
    "triplets": "in multi mode, as the script would have it, or without its mistakes",
    "label_frame": "of clean triplets",
}
_CHOICES = {
    "mode": ("single", "multi"),
    "remainder": ("drop", "keep"),
    "triplets": ("repaired", "clean"),
    "label_frame": ("first", "middle", "last"),
}
_SESSION = (
    "Two scripts of one MATLAB session share a random stream: "
    "give the second the --stream-position the first one printed."
)


def _parser() -> argparse.ArgumentParser:
    """Options are the scripts' own variable names, defaults their values."""
    parser = argparse.ArgumentParser(prog="python -m matlab_ports", description="The authors' MATLAB scripts.")
    commands = parser.add_subparsers(dest="script", required=True, metavar="SCRIPT", title="scripts")
    for name, script in _SCRIPTS.items():
        options = commands.add_parser(
            name,
            help=evaluation.summary(script),
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            epilog=_SESSION,
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
        _add_stream(options)
    _add_h5_scripts(commands)
    _add_prepare_dataset(commands)
    _add_writeh5file(commands)
    evaluation.add(commands)
    return parser


def _add_stream(options: argparse.ArgumentParser) -> None:
    options.add_argument("--seed", type=int, default=0, help="as for rng; 0 is a MATLAB just started")
    options.add_argument("--stream-position", type=int, default=0, help="random numbers drawn before this script")


def _add_h5_scripts(commands: Any) -> None:
    """Those that make a file out of recordings; their options are a struct in MATLAB."""
    for script in (generate_h5, prepare_h5_files):
        options = commands.add_parser(
            script.__name__,
            help=evaluation.summary(script),
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            epilog=_SESSION,
        )
        if script is generate_h5:
            options.add_argument("input", nargs="+", type=Path, help="the recordings' MAT-files")
            options.add_argument("--savepath", type=Path, default=Path("train"), help="the HDF5 file without .h5")
        else:
            options.add_argument("--data_path", type=Path, required=True, help="the folder of the MAT-files")
            for part in ("train", "test"):
                options.add_argument(
                    f"--save_path_{part}", type=Path, required=True, help=f"the {part} file without .h5"
                )
            options.add_argument("--file_name", nargs="+", default=FILE_NAME, help="recordings, training ones first")
            options.add_argument("--train", type=int, help="how many of them are for training; half if not given")
            options.add_argument(
                "--train_statistics", action="store_true", help="scale the test set as the training set"
            )
        options.add_argument("--inputsz", type=int, default=96, help="side of a frame")
        options.add_argument("--chunksz", type=int, default=128, help="samples per chunk")
        options.add_argument("--threads", type=int, help="as many as there are processors if not given")
        options.add_argument("--scratch", type=Path, help="where to inflate recordings; beside the file if not given")
        options.add_argument("--fresh", action="store_true", help="do not go on from an interrupted run")
        for field in dataclasses.fields(Options):
            _add_option(options, field.name, field.default)
        _add_stream(options)


def _add_prepare_dataset(commands: Any) -> None:
    options = commands.add_parser(
        "prepare_dataset",
        help=evaluation.summary(prepare_dataset),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--data_path", type=Path, required=True, help="the AVEC 2016 package")
    options.add_argument("--save_root", type=Path, required=True, help="where data/bbox and data/gsd lie")
    options.add_argument("--file_name", nargs="+", default=RECORDINGS, help="recordings")
    options.add_argument("--save_dir", type=Path, help="data/raw_data/HQ below save_root if not given")
    options.add_argument("--imSize", type=int, default=96, help="side of a crop")
    options.add_argument("--noDebug", type=int, default=1, choices=(0, 1), help="0: the first recording only")
    options.add_argument("--isSave", type=int, default=1, choices=(0, 1), help="0: write nothing")
    options.add_argument("--lr", type=int, default=1, help="s: crops 1/s as large, and of their size again")
    options.add_argument("--version", default="-v7", help="of the MAT-files: -v6, -v7, -v7.3; written --version=-v7")


def _add_writeh5file(commands: Any) -> None:
    options = commands.add_parser(
        "writeh5file",
        help=evaluation.summary(writeh5file),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("samples", type=Path, help="a MAT-file with data (H x W x C x N) and label (1 x N)")
    options.add_argument("--savepath", type=Path, required=True, help="the HDF5 file to write; its folder must exist")
    options.add_argument("--count", type=int, help="how many samples to write; all if not given")
    options.add_argument("--chunksz", type=int, default=128, help=_HELP["chunksz"])


def _add_option(options: argparse.ArgumentParser, name: str, default: Any) -> None:
    settings: dict[str, Any] = {"default": default, "help": _HELP[name]}
    if isinstance(default, bool):
        settings["action"] = "store_true"
    elif name == "mix_lr":
        settings.update(nargs="+", type=float)
    else:
        settings.update(type=float if default is None else type(default), choices=_CHOICES.get(name))
    options.add_argument(f"--{name}", **settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script; 0 when it is done, 1 when it failed, 2 for an option that does not exist."""
    if arguments is None:
        leave_ascii()
    return with_streams("matlab_ports", lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = vars(_parser().parse_args(arguments))
    script = options.pop("script")
    try:
        _run(script, options, partial(print, flush=True))
    except BrokenPipeError:
        raise
    except (PortError, OSError) as error:
        print(f"matlab_ports: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        goes_on = script in ("generate_h5", "prepare_h5_files", "prepare_dataset")
        more = "the same command goes on where this one stopped" if goes_on else "nothing was written"
        print(f"matlab_ports: interrupted, {more}", file=sys.stderr)
        return 130
    return 0


def _write_samples(samples: Path, savepath: Path, count: int | None, chunksz: int) -> str:
    held = loadmat(samples, ("data", "label"))
    size = writeh5file(held["label"].shape[-1] if count is None else count, chunksz, **held, savepath=savepath)
    return f"{savepath}: {size[-1]} samples, data {' x '.join(map(str, size))}"


def _run(script: str, options: dict[str, Any], say: Say) -> None:
    """Call a script and say what it did."""
    if script == "prepare_dataset":
        for one in prepare_dataset(**options):
            say(f"{one.name}: {one.kept} of {one.rows} faces kept")
    elif script == "writeh5file":
        say(_write_samples(**options))
    elif script in evaluation.SCRIPTS:
        evaluation.run(script, options, say=say)
    else:
        stream = RandStream(options.pop("seed"), position=options.pop("stream_position"))
        _run_shuffled(script, stream, options, say)


def _run_shuffled(script: str, stream: RandStream, options: dict[str, Any], say: Say) -> None:
    if script in _SCRIPTS:
        done = _SCRIPTS[script](stream=stream, **options)
        line = f"{done.savepath}: {done.written} of {done.patches} patches from {done.images} pictures; "
        say(f"{line}the random stream stands at {done.position}")
        return
    chosen = Options(**{field.name: options.pop(field.name) for field in dataclasses.fields(Options)})
    options.update(options=chosen, stream=stream, resume=not options.pop("fresh"))
    if script == "generate_h5":
        say(_line(generate_h5(**options)))
    else:
        for written in prepare_h5_files(**options):
            say(_line(written))


def _line(done: WrittenH5) -> str:
    files = ", ".join(map(str, done.savepaths))
    scaling = "".join(
        f", {name} {value:.17g}" for name, value in (("mean", done.mean), ("std", done.std)) if value is not None
    )
    left = f" ({done.resumed} of them left by an earlier run)" if done.resumed else ""
    return (
        f"{files}: {done.written} of {done.samples} samples{left} from {done.recordings} recordings{scaling}; "
        f"the random stream stands at {done.position}"
    )


if __name__ == "__main__":
    sys.exit(main())
