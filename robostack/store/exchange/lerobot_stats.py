"""Statistics of a dataset's features as LeRobot normalizes with them: of each episode, and of all together."""

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

Stats = dict[str, np.ndarray]  # min, max, mean, std, count and the quantiles, float64


def of_rows(rows: np.ndarray) -> Stats:
    """Of (T, n) or (T,) numbers, each (n,) or (1,)."""
    rows = np.asarray(rows, float).reshape(len(rows), -1)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found["count"] = np.array([len(rows)])
    return found | dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), 0), strict=True))


def of_film(film: np.ndarray) -> Stats:
    """Of pictures (T, H, W, 3) uint8, each (3, 1, 1) in 0 to 1. Exact: a colour has only 256 values."""
    counts = np.stack([np.bincount(film[..., c].ravel(), minlength=256) for c in range(3)])
    values, total = np.arange(256) / 255, counts[0].sum()
    mean = counts @ values / total
    below = np.cumsum(counts, 1)
    found = {
        "min": values[(counts > 0).argmax(1)],
        "max": values[255 - (counts[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0)),
    }
    for name, share in QUANTILES.items():
        found[name] = values[(below >= share * total).argmax(1)]
    return {name: x.reshape(3, 1, 1) for name, x in found.items()} | {
        "count": np.array([len(film)])
    }


def together(one: Stats, other: Stats) -> Stats:
    """Of two lots. Exact but for quantiles: their mean by count, as LeRobot does."""
    counts = one["count"], other["count"]
    total = counts[0] + counts[1]
    shares = counts[0] / total, counts[1] / total
    mean = shares[0] * one["mean"] + shares[1] * other["mean"]
    spread = sum(
        share * (lot["std"] ** 2 + (lot["mean"] - mean) ** 2)
        for share, lot in zip(shares, (one, other), strict=True)
    )
    found = {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": mean,
        "std": np.sqrt(spread),
        "count": total,
    }
    return found | {n: shares[0] * one[n] + shares[1] * other[n] for n in QUANTILES}
