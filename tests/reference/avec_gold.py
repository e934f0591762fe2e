"""AVEC 2016's recipe for the gold standard in plain loops and sums, one step a line."""


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
    raters = range(len(traces))
    agreement = [mean([concordance(traces[i], traces[k]) for k in raters if k != i]) for i in raters]
    means = [mean(trace) for trace in traces]
    level = sum(means[i] * agreement[i] / sum(agreement) for i in raters)
    centred = [[value - means[i] + level for value in traces[i]] for i in raters]
    return [mean([trace[frame] for trace in centred]) for frame in range(len(traces[0]))]
