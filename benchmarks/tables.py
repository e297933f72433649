"""Rows as people read them: a table for a terminal, and two outputs side by side."""

from collections.abc import Sequence

from benchmarks.rows import Row


def verdict(row: Row) -> str:
    return {True: "yes", False: "MISSED", None: "-"}[row.met]


def shown(value: float) -> str:
    """A number as people read it: at most four digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def shown_spread(spread: Sequence[float]) -> str:
    if len(spread) > 5:
        return f"{shown(min(spread))} … {shown(max(spread))} ({len(spread)})"
    return ", ".join(map(shown, spread))


def table(rows: Sequence[Row]) -> str:
    """Rows for a terminal."""
    heads = ("id", "measured", "bar", "met", "spread", "figure")
    cells = [
        (
            r.id,
            f"{shown(r.value)} {r.unit}",
            r.bar or "-",
            verdict(r),
            shown_spread(r.spread) or "-",
            r.figure,
        )
        for r in rows
    ]
    return aligned([heads, *cells])


def compare(before: Sequence[Row], after: Sequence[Row]) -> str:
    """Two outputs beside each other; a row that one of them lacks says so."""
    old, new = {r.id: r for r in before}, {r.id: r for r in after}
    cells: list[Sequence[str]] = [("id", "before", "after", "after/before", "met", "figure")]
    for id in dict.fromkeys([*old, *new]):
        a, b = old.get(id), new.get(id)
        here = b or a
        assert here is not None
        change = f"{b.value / a.value:.3f}" if a and b and a.value else "-"
        met = " -> ".join(verdict(r) if r else "not measured" for r in (a, b))
        values = [f"{shown(r.value)} {r.unit}" if r else "not measured" for r in (a, b)]
        cells.append((id, *values, change, met, here.figure))
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
