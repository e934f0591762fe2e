"""The authors' ``prepare_h5_files.m``: the training and the test file of one kind of recordings (HQ, LR3, mixed)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from matlab_ports._support.errors import PortError
from matlab_ports.generate_h5 import Options, WrittenH5, generate_h5
from matlab_ports.randstream import RandStream

FILE_NAME = tuple(f"{part}_{n}" for part in ("train", "dev") for n in range(1, 10))


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
        The recordings' names, training ones first.
    train
        How many of them are for training; by default half, as in the script.
    options
        For both files. As in the script, the test set is degraded, mirrored and scaled (by statistics of its own) like
        the training set.
    train_statistics
        With `Options.mean_sub` or `Options.norm`: scale the test set by the training set's mean and deviation.
    stream
        The random stream; the test file takes the numbers after the training file's.
    inputsz, chunksz, resume, threads, scratch
        See `generate_h5`.

    Returns
    -------
    train, test : WrittenH5

    Raises
    ------
    PortError
        Names the file or the setting that is wrong. A training file that was written stays.
    """
    stream = RandStream() if stream is None else stream
    options = Options() if options is None else options
    count = len(file_name) // 2 if train is None else train
    if not 0 < count < len(file_name):
        raise PortError(f"{count} of {len(file_name)} recordings are for training", where="file_name")
    paths = [Path(data_path) / f"{name}.mat" for name in file_name]
    lacking = [path.stem for path in paths if not path.is_file()]
    if lacking:
        raise PortError(
            f"lacks {', '.join(lacking)}", where=data_path, hint="prepare them, or name those that are there"
        )
    if Path(save_path_train) == Path(save_path_test):
        raise PortError("is the training file's path", where="save_path_test")

    def generate(input_: Sequence[Path], savepath: str | Path, chosen: Options) -> WrittenH5:
        return generate_h5(
            input_, inputsz, savepath, chunksz, chosen, stream=stream, resume=resume, threads=threads, scratch=scratch
        )

    first = generate(paths[:count], save_path_train, options)
    if train_statistics:
        options = dataclasses.replace(options, mean=first.mean, std=first.std)
    return first, generate(paths[count:], save_path_test, options)
