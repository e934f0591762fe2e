"""Layered layout of a directed graph: most arrows point along the flow, and few cross.

The steps are those of Sugiyama, Tagawa and Toda (1981): reverse arrows that close a cycle, rank by the longest path,
order each rank by the mean place of its neighbours, then place by least squares at a given distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Pair = tuple[int, int]
Floats = np.ndarray[Any, np.dtype[np.float64]]
SWEEPS, SETTLINGS = 8, 12
BEND = 6.0  # breadth of an arrow in a rank that it passes


@dataclass(frozen=True)
class Layout:
    """The centre of each node along the flow and across it, and the extent of both."""

    along: list[float]
    across: list[float]
    routes: list[list[tuple[float, float]]]
    """For each edge, from its source, the points where it passes the ranks in between."""
    turned: list[bool]
    """For each edge, whether it points against the flow."""
    size: tuple[float, float]


def layout(
    depths: Sequence[float], breadths: Sequence[float], edges: Sequence[Pair], gap: tuple[float, float]
) -> Layout:
    """Place nodes by their extents along the flow and across it; `gap` is between ranks and between neighbours."""
    count = len(depths)
    turned = _closes_cycle(count, edges)
    forward = [(b, a) if t else (a, b) for (a, b), t in zip(edges, turned, strict=True)]
    rank = _ranks(count, forward)
    chains, links, rank = _with_bends(forward, rank)
    breadth = [*breadths, *([BEND] * (len(rank) - count))]
    rows = _ordered(rank, links)
    across = _settled(rows, links, breadth, gap[1], real=count)
    starts, centres = _along(rows, depths, gap[0])
    low = min((across[v] - breadth[v] / 2 for v in range(len(rank))), default=0.0)
    high = max((across[v] + breadth[v] / 2 for v in range(len(rank))), default=0.0)
    across = [value - low for value in across]
    routes = []
    for chain, back in zip(chains, turned, strict=True):
        points = [(place, across[v]) for v in chain for place in starts[rank[v]]]
        routes.append(points[::-1] if back else points)
    along = [centres[rank[v]] for v in range(count)]
    return Layout(along, across[:count], routes, turned, (starts[-1][1] if starts else 0.0, high - low))


def _closes_cycle(count: int, edges: Sequence[Pair]) -> list[bool]:
    """Return for each edge whether it closes a cycle in a depth-first walk."""
    out: list[list[Pair]] = [[] for _ in range(count)]
    for index, (source, target) in enumerate(edges):
        out[source].append((target, index))
    turned = [False] * len(edges)
    state = [0] * count  # 1 on the current path, 2 done
    for start in range(count):
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(out[start]))]
        while stack:
            node, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[node] = 2
                stack.pop()
            elif state[step[0]] == 1:
                turned[step[1]] = True
            elif state[step[0]] == 0:
                state[step[0]] = 1
                stack.append((step[0], iter(out[step[0]])))
    return turned


def _ranks(count: int, edges: Sequence[Pair]) -> list[int]:
    """Rank by the longest path from a source; a source is one rank before its first target."""
    out: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        if source != target:
            out[source].append(target)
            waiting[target] += 1
    sources = [v for v in range(count) if not waiting[v]]
    rank = [0] * count
    ready = list(sources)
    while ready:
        node = ready.pop()
        for target in out[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for node in sources:
        if out[node]:
            rank[node] = min(rank[target] for target in out[node]) - 1
    return rank


def _with_bends(edges: Sequence[Pair], rank: list[int]) -> tuple[list[list[int]], list[Pair], list[int]]:
    """Add a node in each rank that an edge passes: return the nodes added per edge, all short edges, all ranks."""
    rank = list(rank)
    chains: list[list[int]] = []
    links: list[Pair] = []
    for source, target in edges:
        chain = list(range(len(rank), len(rank) + max(0, rank[target] - rank[source] - 1)))
        rank += range(rank[source] + 1, rank[target])
        chains.append(chain)
        stations = [source, *chain, target]
        links += [pair for pair in pairwise(stations) if source != target]
    return chains, links, rank


def _neighbours(count: int, links: Sequence[Pair]) -> tuple[list[list[int]], list[list[int]]]:
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in links:
        after[source].append(target)
        before[target].append(source)
    return before, after


def _ordered(rank: Sequence[int], links: Sequence[Pair]) -> list[list[int]]:
    """Order each rank so that few links cross: the best of several sweeps of means."""
    rows: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for node, level in enumerate(rank):
        rows[level].append(node)
    before, after = _neighbours(len(rank), links)
    place = [0.0] * len(rank)

    def number(row: Sequence[int]) -> None:
        for index, node in enumerate(row):
            place[node] = index

    for row in rows:
        number(row)
    best, fewest = [list(row) for row in rows], _crossings(rows, after, place)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        near, walk = (before, rows) if sweep % 2 == 0 else (after, rows[::-1])
        for row in walk:
            means = {v: sum(place[u] for u in near[v]) / len(near[v]) if near[v] else place[v] for v in row}
            row.sort(key=means.__getitem__)
            number(row)
        crossings = _crossings(rows, after, place)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: Sequence[Sequence[int]], after: Sequence[Sequence[int]], place: Sequence[float]) -> int:
    """Count pairs of links that cross: inversions of the targets' places."""
    total = 0
    for row in rows:
        ends = [place[u] for v in row for u in sorted(after[v], key=lambda u: place[u])]
        values = np.array(ends)
        total += int(sum(int((values[:i] > values[i]).sum()) for i in range(1, len(values))))
    return total


def _settled(
    rows: Sequence[Sequence[int]], links: Sequence[Pair], breadth: Sequence[float], gap: float, *, real: int
) -> list[float]:
    """Place each rank across the flow: nodes near the mean of their neighbours, at least `gap` apart."""
    before, after = _neighbours(len(breadth), links)
    across = [0.0] * len(breadth)
    offsets: list[Floats] = []
    for row in rows:
        widths = np.array([breadth[v] for v in row])
        offsets.append(np.concatenate([[0.0], np.cumsum((widths[1:] + widths[:-1]) / 2 + gap)]))
        for node, value in zip(row, offsets[-1] - offsets[-1][-1] / 2, strict=True):
            across[node] = float(value)
    for step in range(SETTLINGS):
        near = before if step % 2 == 0 else after
        order = range(len(rows)) if step % 2 == 0 else range(len(rows) - 1, -1, -1)
        for index in order:
            row = rows[index]
            targets = np.array([np.mean([across[u] for u in near[v]]) if near[v] else across[v] for v in row])
            weights = np.array([(4.0 if v >= real else 1.0) if near[v] else 0.1 for v in row])
            for node, value in zip(row, _spaced(targets, offsets[index], weights), strict=True):
                across[node] = float(value)
    return across


def _spaced(targets: Floats, offsets: Floats, weights: Floats) -> Floats:
    """Return the places nearest to `targets` that keep the distances, by pooling adjacent violators."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(targets - offsets, weights, strict=True):
        mean, total, size = float(value), float(weight), 1
        while pools and pools[-1][0] >= mean:
            other, heavy, many = pools.pop()
            mean, total, size = (mean * total + other * heavy) / (total + heavy), total + heavy, size + many
        pools.append((mean, total, size))
    return np.concatenate([np.full(size, mean) for mean, _, size in pools]) + offsets


def _along(
    rows: Sequence[Sequence[int]], depths: Sequence[float], gap: float
) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the start and end of each rank, and its centre."""
    starts, centres, edge = [], [], 0.0
    for row in rows:
        depth = max((depths[v] for v in row if v < len(depths)), default=0.0)
        starts.append((edge, edge + depth))
        centres.append(edge + depth / 2)
        edge += depth + gap
    return starts, centres
