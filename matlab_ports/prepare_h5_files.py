"""The authors' ``prepare_h5_files.m``: write the training and the test file of HQ, LR or mixed recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matlab_ports._support.errors import PortError
from matlab_ports.generate_h5 import Options, WrittenH5, generate_h5
from matlab_ports.prepare_dataset import FILE_NAME
from matlab_ports.randstream import RandStream


def prepare_h5_files(
    data_path: str | Path,
    save_path_train: str | Path,
    save_path_test: str | Path,
    *,
    file_name: Sequence[str] = FILE_NAME,
    train: int | None = None,
    inputsz: int = 96,
    chunksz: int = 128,
    options: Options | None = None,
    train_statistics: bool = False,
    stream: RandStream | None = None,
    resume: bool = True,
    threads: int | None = None,
    scratch: str | Path | None = None,
) -> tuple[WrittenH5, WrittenH5]:
    """Call `generate_h5` for the training recordings, then for the test recordings.

    Parameters
    ----------
    data_path
        The folder of the recordings' MAT-files.
    save_path_train, save_path_test
        The HDF5 files without ``.h5``.
    file_name
        Names of the recordings, those for training first.
    train
        Number of recordings for training; by default half, as in the script.
    options
        Settings of both files. As in the script, the test set is degraded, mirrored and scaled (by its own statistics)
        like the training set.
    train_statistics
        With `Options.mean_sub` or `Options.norm`: scale the test set by the training set's mean and deviation.
    stream
        The random stream; the test file draws after the training file.
    inputsz, chunksz, resume, threads, scratch
        See `generate_h5`.

    Returns
    -------
    train, test : WrittenH5

    Raises
    ------
    PortError
        A file or setting cannot be used. A training file that was written stays.
    """
    stream = RandStream() if stream is None else stream
    options = Options() if options is None else options
    count = len(file_name) // 2 if train is None else train
    if not 0 < count < len(file_name):
        problem = f"needs recordings for training and for testing, got {count} of {len(file_name)} for training"
        raise PortError(problem, code="wrong-count", field="train", value=count)
    paths = [Path(data_path) / f"{name}.mat" for name in file_name]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        problem, hint = f"lacks {', '.join(missing)}", "prepare them, or change file_name"
        raise PortError(problem, code="file-missing", file=data_path, field="file_name", hint=hint)
    if Path(save_path_train) == Path(save_path_test):
        problem = "is also the path of the training file"
        raise PortError(problem, code="conflict", field="save_path_test", value=str(save_path_test))

    generate = partial(generate_h5, stream=stream, resume=resume, threads=threads, scratch=scratch)
    first = generate(paths[:count], inputsz, save_path_train, chunksz, options)
    if train_statistics:
        options = dataclasses.replace(options, mean=first.mean, std=first.std)
    return first, generate(paths[count:], inputsz, save_path_test, chunksz, options)
