"""AVEC 2016's recipe for the gold standard, said slowly: loops and sums, one step a line."""


def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def concordance(p, r):
    mp, mr = mean(p), mean(r)
    covariance = mean([(a - mp) * (b - mr) for a, b in zip(p, r, strict=True)])
    vp = sum((a - mp) ** 2 for a in p) / (len(p) - 1)
    vr = sum((b - mr) ** 2 for b in r) / (len(r) - 1)
    return 2 * covariance / (vp + vr + (mp - mr) ** 2)


def gold(traces):
    """Traces as one list per rater; gives one list."""
    agreement = []
    for one in range(len(traces)):
        with_others = [concordance(traces[one], traces[k]) for k in range(len(traces)) if k != one]
        agreement.append(mean(with_others))
    means = [mean(trace) for trace in traces]
    level = 0.0
    for one in range(len(traces)):
        level += means[one] * agreement[one] / sum(agreement)
    centred = [[value - means[one] + level for value in traces[one]] for one in range(len(traces))]
    return [mean([trace[frame] for trace in centred]) for frame in range(len(traces[0]))]
