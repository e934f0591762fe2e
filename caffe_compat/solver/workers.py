"""Train one net in several processes, with Caffe's multi-GPU meaning of a batch.

Facts from BVLC Caffe 9b89154, parallel.cpp, solver.cpp and hdf5_data_layer.cpp: every solver reads `batch_size` rows of
its own, row i going to solver i modulo their number; gradients are summed and divided by that number, then each solver
makes the same update; the weights start as those of the first, which alone tests, logs and takes snapshots; random_seed
is the first one's, the others count on from it. So N solvers of batch B are one solver of batch N B.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from caffe_compat.data import DataSource
from caffe_compat.data.source import Cursor
from caffe_compat.errors import SolverError


@dataclass(frozen=True)
class Workers:
    """The processes that train together, as this process, number `rank`, sees them; alone by default.

    With a `count` of more than one, torch.distributed's default group is used.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Tell whether this is the one that tests, logs and takes snapshots."""
        return self.rank == 0

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give all processes the mean of their tensors, in place."""
        if self.count == 1 or not tensors:
            return
        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(together)
        together.mul_(1 / self.count)
        parts = torch.split(together, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    @torch.no_grad()
    def follow_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give all processes the first one's tensors, in place."""
        if self.count > 1:
            for tensor in tensors:
                values = tensor.detach().contiguous()
                dist.broadcast(values, 0)
                tensor.copy_(values)

    def gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return every process' values, of one shape."""
        if self.count == 1:
            return [values]
        gathered = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(gathered, values)
        return gathered

    def most(self, value: int, device: torch.device) -> int:
        """Return the largest of the processes' numbers."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, device=device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return int(shared)


class Share(DataSource):
    """A worker's rows of a source: of every `count` rows the one numbered `rank`.

    Every process reads all rows, as every solver of Caffe's does, so that shuffles stay alike.
    """

    type = ""  # a view of any source, not one of a data layer type

    def __init__(self, source: DataSource, workers: Workers) -> None:
        self._source = source
        self._workers = workers
        self.tops, self.shapes = source.tops, source.shapes

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def reset(self) -> None:
        """Start again from the first row."""
        self._source.reset()

    def cursor(self) -> Cursor:
        """Return the position of the source."""
        return self._source.cursor()

    def fits(self, cursor: Cursor) -> bool:
        """Tell whether the source has that place."""
        return self._source.fits(cursor)

    def seek(self, cursor: Cursor) -> None:
        """Go to a place of the source."""
        self._source.seek(cursor)

    def next(self) -> dict[str, torch.Tensor]:
        """Return this worker's part of the next `count` batches."""
        batches = [self._source.next() for _ in range(self._workers.count)]
        rows = slice(self._workers.rank, None, self._workers.count)
        return {top: torch.cat([batch[top] for batch in batches])[rows] for top in self.tops}


@contextmanager
def launched(device: torch.device) -> Iterator[Workers]:
    """Join the processes that ``torchrun`` started; alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        hint = "start it with torchrun --nproc-per-node=N -m caffe_compat train ..."
        raise SolverError(f"cannot join the other processes: {reason}", code="worker-lost", hint=hint) from None
    try:
        yield Workers(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
