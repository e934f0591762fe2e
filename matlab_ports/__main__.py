"""The command line of the scripts: ``python -m matlab_ports generate_train --folder Train --savepath train.h5``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

try:
    from caffe_compat_base.input_files import inputs_of, named_files, protecting
    from caffe_compat_base.streams import leave_ascii, with_streams
    from matlab_ports import _commands
    from matlab_ports._support.errors import PortError
    from matlab_ports._support.files import require_not_input
    from matlab_ports.generate_h5 import Options, WrittenH5, generate_h5
    from matlab_ports.generate_test import generate_test
    from matlab_ports.generate_train import Written, generate_train
    from matlab_ports.matfile import loadmat
    from matlab_ports.prepare_dataset import FILE_NAME, prepare_dataset
    from matlab_ports.prepare_h5_files import prepare_h5_files
    from matlab_ports.randstream import RandStream
    from matlab_ports.writeh5file import writeh5file
except KeyboardInterrupt:
    if __name__ != "__main__":
        raise
    sys.stderr.write("matlab_ports: error: interrupted\n")
    sys.exit(130)

Report = Callable[[str], None]

_SCRIPTS: dict[str, Callable[..., Written]] = {"generate_train": generate_train, "generate_test": generate_test}
_HELP = {
    "folder": "folder of the images",
    "savepath": "HDF5 file to write, in an existing folder",
    "size_input": "side of an input patch in pixels",
    "size_label": "side of a label patch in pixels",
    "scale": "factor of downsampling",
    "stride": "distance between patches in pixels",
    "chunksz": "samples per chunk; samples that do not fill a chunk are dropped",
    "pattern": "glob pattern of the images in the folder",
    "gray": "gray images: an error, as in MATLAB, or repeat the plane three times",
    # generate_h5's options
    "mode": "single frames, or three consecutive frames as channels",
    "augmentation": "replace every frame by its mirror image",
    "mean_sub": "subtract the mean of all values",
    "norm": "divide by the standard deviation of all values",
    "split": "number of files in multi mode",
    "mix": "downsample every frame by a factor drawn from mix_lr",
    "mix_lr": "factors for mix",
    "keep_clean": "with mix, write the clean frames too",
    "keep_unflipped": "with augmentation, write the unflipped frames too",
    "mix_epochs": "with mix, number of passes over all frames, each with new factors",
    "mean": "mean to subtract instead of the file's own",
    "std": "standard deviation to divide by instead of the file's own",
    "remainder": "samples that do not fill a chunk: drop them, or keep them in a shorter chunk",
    "triplets": "triplets in multi mode: the script's, repaired to run, or without its mistakes",
    "label_frame": "frame that gives the label of a clean triplet",
}
_OUTPUTS = ("savepath", "save_path_train", "save_path_test", "save_dir")  # the files that others name are read
_SESSION = (
    "Two scripts of one MATLAB session share a random stream: pass the --stream-position that the first prints to the "
    "second."
)


def _parser() -> argparse.ArgumentParser:
    """Return the parser; options and defaults are the scripts' variables and their values."""
    parser = argparse.ArgumentParser(
        prog="python -m matlab_ports", description="Run the authors' MATLAB scripts, ported to Python."
    )
    commands = parser.add_subparsers(dest="script", required=True, metavar="SCRIPT", title="scripts")
    for script in _SCRIPTS.values():
        options = _commands.add_command(commands, script, _SESSION)
        hints = get_type_hints(script)
        for parameter in inspect.signature(script).parameters.values():
            if parameter.name != "stream":
                _add_option(options, parameter.name, parameter.default, hints)
        _add_stream(options)
    _add_h5_scripts(commands)
    _add_prepare_dataset(commands)
    _add_writeh5file(commands)
    _commands.add(commands)
    return parser


def _add_stream(options: argparse.ArgumentParser) -> None:
    options.add_argument("--seed", type=int, default=0, help="seed as for rng; 0 is a fresh MATLAB")
    options.add_argument(
        "--stream-position", type=int, default=0, help="number of random numbers drawn before this script"
    )


def _add_h5_scripts(commands: Any) -> None:
    """Add the scripts that write HDF5 files of recordings; their options are a struct in MATLAB."""
    for script in (generate_h5, prepare_h5_files):
        options = _commands.add_command(commands, script, _SESSION)
        if script is generate_h5:
            options.add_argument("input", nargs="+", type=Path, help="MAT-files of the recordings")
            options.add_argument("--savepath", type=Path, default=Path("train"), help="HDF5 file to write, without .h5")
        else:
            options.add_argument("--data_path", type=Path, required=True, help="folder of the MAT-files")
            for part in ("train", "test"):
                options.add_argument(
                    f"--save_path_{part}", type=Path, required=True, help=f"HDF5 file for {part}, without .h5"
                )
            options.add_argument(
                "--file_name", nargs="+", default=FILE_NAME, help="names of the recordings, those for training first"
            )
            options.add_argument("--train", type=int, help="number of recordings for training (default: half)")
            text = "scale the test set by the statistics of the training set"
            options.add_argument("--train_statistics", action="store_true", help=text)
        options.add_argument("--inputsz", type=int, default=96, help="side of a frame in pixels")
        options.add_argument("--chunksz", type=int, default=128, help="samples per chunk")
        options.add_argument("--threads", type=int, help="number of threads (default: one per processor)")
        options.add_argument(
            "--scratch", type=Path, help="folder for inflated recordings (default: that of the HDF5 file)"
        )
        options.add_argument("--fresh", action="store_true", help="start over instead of resuming an interrupted run")
        for field in dataclasses.fields(Options):
            _add_option(options, field.name, field.default, get_type_hints(Options))
        _add_stream(options)


def _add_prepare_dataset(commands: Any) -> None:
    options = _commands.add_command(commands, prepare_dataset)
    options.add_argument("--data_path", type=Path, required=True, help="folder of the AVEC 2016 package")
    options.add_argument("--save_root", type=Path, required=True, help="folder of data/bbox and data/gsd")
    options.add_argument("--file_name", nargs="+", default=FILE_NAME, help="names of the recordings")
    options.add_argument(
        "--save_dir", type=Path, help="folder to write into (default: data/raw_data/HQ below save_root)"
    )
    options.add_argument("--imSize", type=int, default=96, help="side of a crop in pixels")
    options.add_argument("--noDebug", type=int, default=1, choices=(0, 1), help="0: the first recording only")
    options.add_argument("--isSave", type=int, default=1, choices=(0, 1), help="0: write nothing")
    options.add_argument("--lr", type=int, default=1, help="factor of downsampling; 1 for HQ")
    options.add_argument("--version", default="-v7", help="version of the MAT-files: --version=-v6, =-v7 or =-v7.3")


def _add_writeh5file(commands: Any) -> None:
    options = _commands.add_command(commands, writeh5file)
    options.add_argument("samples", type=Path, help="MAT-file with data (H x W x C x N) and label (1 x N)")
    options.add_argument("--savepath", type=Path, required=True, help=_HELP["savepath"])
    options.add_argument("--count", type=int, help="number of samples to write (default: all)")
    options.add_argument("--chunksz", type=int, default=128, help=_HELP["chunksz"])


def _add_option(options: argparse.ArgumentParser, name: str, default: Any, hints: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"default": default, "help": _HELP[name]}
    if isinstance(default, bool):
        settings["action"] = "store_true"
    elif name == "mix_lr":
        settings.update(nargs="+", type=float)
    else:
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else None
        settings.update(type=float if default is None else type(default), choices=choices)
    options.add_argument(f"--{name}", **settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script; return 0 for success, 1 for an error, 130 after Ctrl-C."""
    if arguments is None:
        leave_ascii()
    return with_streams("matlab_ports", lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = vars(_parser().parse_args(arguments))
    script = options.pop("script")
    try:
        with protecting(inputs_of(options, _OUTPUTS)):
            _require_free([options[name] for name in _OUTPUTS if options.get(name)])
            _run(script, options, partial(print, flush=True))
    except BrokenPipeError:
        raise
    except (PortError, OSError) as error:
        print(f"matlab_ports: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumable = script in ("generate_h5", "prepare_h5_files", "prepare_dataset")
        advice = "run the same command again to resume" if resumable else "nothing was written"
        print(f"matlab_ports: interrupted; {advice}", file=sys.stderr)
        return 130
    return 0


def _require_free(outputs: Sequence[Path | str]) -> None:
    """Refuse outputs that are inputs before the work is done; some scripts add ``.h5`` to their name."""
    for path in named_files([name for out in outputs for name in (out, f"{out}.h5")]):
        require_not_input(path)


def _write_samples(samples: Path, savepath: Path, count: int | None, chunksz: int) -> str:
    variables = loadmat(samples, ("data", "label"))
    count = variables["label"].shape[-1] if count is None else count
    size = writeh5file(count, chunksz, **variables, savepath=savepath)
    return f"{savepath}: {size[-1]} samples, data {' x '.join(map(str, size))}"


def _run(script: str, options: dict[str, Any], report: Report) -> None:
    """Call a script and report its result."""
    if script == "prepare_dataset":
        for prepared in prepare_dataset(**options):
            report(f"{prepared.name}: {prepared.faces} faces in {prepared.rows} frames")
    elif script == "writeh5file":
        report(_write_samples(**options))
    elif script in _commands.SCRIPTS:
        _commands.run(script, options, report=report)
    else:
        stream = RandStream(options.pop("seed"), position=options.pop("stream_position"))
        _run_shuffled(script, stream, options, report)


def _run_shuffled(script: str, stream: RandStream, options: dict[str, Any], report: Report) -> None:
    if script in _SCRIPTS:
        result = _SCRIPTS[script](stream=stream, **options)
        line = f"{result.savepath}: {result.written} of {result.patches} patches from {result.images} images; "
        report(f"{line}stream position {result.position}")
        return
    settings = Options(**{field.name: options.pop(field.name) for field in dataclasses.fields(Options)})
    options.update(options=settings, stream=stream, resume=not options.pop("fresh"))
    if script == "generate_h5":
        report(_describe(generate_h5(**options)))
    else:
        for written in prepare_h5_files(**options):
            report(_describe(written))


def _describe(result: WrittenH5) -> str:
    files = ", ".join(map(str, result.savepaths))
    scaling = "".join(
        f", {name} {value:.17g}" for name, value in (("mean", result.mean), ("std", result.std)) if value is not None
    )
    resumed = f" ({result.resumed} written by an earlier run)" if result.resumed else ""
    return (
        f"{files}: {result.written} of {result.samples} samples{resumed} from {result.recordings} recordings{scaling}; "
        f"stream position {result.position}"
    )


if __name__ == "__main__":
    sys.exit(main())
