"""AVEC's search for a median filter, bias and factor, and its statistics, in plain Python: slow, one step a line.

Transcribed from facts about the official baseline's scripts, independently of the product.
"""

import math


def mean(values):
    return math.fsum(values) / len(values)


def spread(values):
    """Standard deviation, N - 1."""
    middle = mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1))


def ccc(pred, ref):
    m1, m2 = mean(pred), mean(ref)
    covariance = mean([(a - m1) * (b - m2) for a, b in zip(pred, ref, strict=True)])
    return 2 * covariance / (spread(pred) ** 2 + spread(ref) ** 2 + (m1 - m2) ** 2)


def medfilt1(values, n):
    """Zeros beyond the ends; for an even n the window of 1-based k is k - n/2 .. k + n/2 - 1."""
    if n <= 1:
        return list(values)
    back = n // 2
    out = []
    for k in range(len(values)):
        window = sorted(values[i] if 0 <= i < len(values) else 0.0 for i in range(k - back, k - back + n))
        out.append(window[n // 2] if n % 2 else (window[n // 2 - 1] + window[n // 2]) / 2)
    return out


def half_up(value):
    return math.floor(value + 0.5)


def percent(value, before):
    return 100 * (value - before) / before


def train(pred, ref, Nw):
    """Return [raw, filter, center, scale] CCCs, [window, bias, scale] and the processed trace."""
    saved = [ccc(pred, ref)]
    window, bias, scale = 0, 0.0, 1.0
    filters = [list(pred)] + [medfilt1(pred, half_up(k * Nw / 3)) for k in (1, 2, 3)]
    values = [ccc(trace, ref) for trace in filters]
    order = sorted(range(4), key=lambda k: (-values[k], k))
    best = saved[0]
    if order[0] != 0 and percent(values[order[0]], values[0]) > 2:
        filtered = filters[order[0]]
        ends = [half_up(k * Nw / 3) for k in order[:2]]
        windows = [ends[0], half_up(mean(ends)), ends[1]]
        trace = medfilt1(pred, windows[1])
        three = [values[order[0]], ccc(trace, ref), values[order[1]]]
        if percent(three[1], max(three[0], three[2])) > 2:
            while True:
                by_value = sorted(range(3), key=lambda k: (-three[k], k))
                two = [windows[k] for k in by_value[:2]]
                tops = [three[k] for k in by_value[:2]]
                windows = [two[0], half_up(mean(two)), two[1]]
                trace = medfilt1(pred, windows[1])
                three = [tops[0], ccc(trace, ref), tops[1]]
                gain = percent(three[1], max(three[0], three[2]))
                if gain > 2:
                    filtered = trace
                    continue
                if gain > 0:
                    window, pred, best = windows[1], trace, three[1]
                else:
                    window, pred, best = windows[0], filtered, tops[0]
                break
        elif percent(three[1], max(three[0], three[2])) > 0:
            window, pred, best = windows[1], trace, three[1]
        else:
            window, pred, best = ends[0], filtered, values[order[0]]
    saved.append(best)
    shift = mean(ref) - mean(pred)
    moved = [p + shift for p in pred]
    if ccc(moved, ref) > best:
        best, bias, pred = ccc(moved, ref), shift, moved
    saved.append(best)
    factor = spread(ref) / spread(pred)
    scaled = [p * factor for p in pred]
    if ccc(scaled, ref) > best:
        best, scale, pred = ccc(scaled, ref), factor, scaled
    saved.append(best)
    return saved, [window, bias, scale], pred
