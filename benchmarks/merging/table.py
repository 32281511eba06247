"""Format the results and their targets as text or Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, float]
Results = dict[str, Row]
_SIMPLE = ("linear", "slerp", "task_arithmetic", "model_stock")
_DENSE = ("linear", "task_arithmetic")
_SPARSE = ("ties", "dare_ties", "dare_linear")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table; ``passed`` is None without a target."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    target: str = ""
    passed: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the cells as text."""
        verdict = "" if self.passed is None else "yes" if self.passed else "NO"
        return self.what, self.ours, self.theirs, self.ratio, self.target, verdict


HEAD = ("what", "kingyo", "mergekit", "ratio", "target", "met")


def render(results: Mapping[str, Row], machine: Mapping[str, str], *, markdown: bool) -> str:
    """Return all sections that have results."""
    sections = {
        "Files to files: wall time (CPU time of all threads)": _times(results),
        "Files to files: processor time": _processor(results),
        "Files to files: peak memory in MiB (allocated + file pages = resident)": _memory(results),
        "A candidate in memory, one thread, ns per parameter (CPU time)": _candidates(results),
        "Two threads in memory": _threads(results, machine.get("size", "0.5b")),
        "Start-up: wall time (CPU time of all threads)": _startup(results),
    }
    parts = [_machine(machine, markdown=markdown)]
    for title, lines in sections.items():
        rows = list(lines)
        if rows:
            parts.append(_section(title, [line.cells() for line in rows], markdown=markdown))
    return "\n\n".join(parts)


def _times(results: Mapping[str, Row]) -> Iterator[Line]:
    for method in _methods(results, "files"):
        rows = [results[f"files/{method}/{tool}"] for tool in ("kingyo", "mergekit")]
        ours, theirs = (row["seconds"] for row in rows)
        target = 4 if method in _SIMPLE else 10
        yield Line(
            what=method,
            ours=_seconds(rows[0]),
            theirs=_seconds(rows[1]),
            ratio=f"{theirs / ours:.1f}×",
            target=f"≥ {target}×",
            passed=theirs / ours >= target,
        )
    merges = {
        "linear": results.get("files/linear/kingyo"),
        "linear without imports": results.get("limit/engine"),
    }
    for kind in ("written", "on disk"):
        row = results.get(f"limit/{kind}")
        if row is None:
            continue
        what = f"reading three models and writing one ({kind})"
        yield Line(what=what, ours=f"{row['seconds']:.2f} s")
        for name, merge in merges.items():
            if merge is not None:
                share = merge["seconds"] / row["seconds"]
                yield Line(
                    what=f"{name} against {what}",
                    ours=f"{merge['seconds']:.2f} s",
                    ratio=f"{share:.2f}×",
                    target="≤ 1.5×",
                    passed=share <= 1.5,
                )


def _processor(results: Mapping[str, Row]) -> Iterator[Line]:
    """Yield the processor time of merges relative to reading and writing, both by one thread."""
    copy = results.get("limit/written")
    if copy is None or "processor" not in copy:
        return
    for method, most in (("linear", 2.5), ("task_arithmetic", 2.5), ("ties", 6.0)):
        row = results.get(f"files/{method}/kingyo")
        if row is not None:
            share = row["processor"] / copy["processor"]
            yield Line(
                what=f"{method} against reading three models and writing one",
                ours=f"{row['processor']:.2f} s",
                theirs=f"{copy['processor']:.2f} s (copy)",
                ratio=f"{share:.2f}×",
                target=f"≤ {most}×",
                passed=share <= most,
            )


def _memory(results: Mapping[str, Row]) -> Iterator[Line]:
    for method in _methods(results, "files"):
        ours, theirs = (results[f"files/{method}/{tool}"] for tool in ("kingyo", "mergekit"))
        yield Line(
            what=method,
            ours=_kinds(ours),
            theirs=_kinds(theirs),
            ratio="; allocated ".join(
                f"{ours[kind] / theirs[kind]:.0%}" for kind in ("resident", "anonymous")
            ),
            target="≤ 60%",
            passed=ours["resident"] <= 0.6 * theirs["resident"],
        )
        yield Line(
            what=f"{method}: allocated memory",
            ours=f"{ours['anonymous']:.0f}",
            target="≤ 1536",
            passed=ours["anonymous"] <= 1536,
        )
    one, many = (results.get(f"shards/{n}/kingyo") for n in (1, 8))
    if one is not None and many is not None:
        yield Line(
            what="linear with 8 shards per model against 1",
            ours=f"{_kinds(many)} against {_kinds(one)}",
            ratio=f"allocated {many['anonymous'] / one['anonymous']:.2f}×",
            target="≤ 1.05×",
            passed=many["anonymous"] <= 1.05 * one["anonymous"],
        )


def _candidates(results: Mapping[str, Row]) -> Iterator[Line]:
    for what in _methods(results, "memory"):
        method = what.split(" of ")[0]
        ours, theirs = results[f"memory/{what}/kingyo"], results.get(f"memory/{what}/mergekit")
        target = 2 if method in _DENSE else 4 if method in _SPARSE else None
        yield Line(
            what=f"{what} against copying ({ours['copy 1']:.2f})",
            ours=_nanoseconds(ours),
            ratio=f"{ours['1'] / ours['copy 1']:.1f}×",
            target="" if target is None else f"≤ {target}×",
            passed=None if target is None else ours["1"] <= target * ours["copy 1"],
        )
        if theirs is not None:
            gain = theirs["1"] / ours["1"]
            yield Line(
                what=f"{what} against mergekit's functions",
                ours=_nanoseconds(ours),
                theirs=_nanoseconds(theirs),
                ratio=f"{gain:.0f}×",
                target="" if method in _DENSE else "≥ 100×",
                passed=None if method in _DENSE else gain >= 100,
            )


def _threads(results: Mapping[str, Row], size: str) -> Iterator[Line]:
    for part, title in (("threads", size.upper()), ("memory", "25M")):
        for what in _methods(results, part):
            row = results[f"{part}/{what}/kingyo"]
            ours, copied = row["1"] / row["2"], row["copy 1"] / row["copy 2"]
            yield Line(
                what=f"{what}, {title}: speed-up relative to copying ({copied:.2f}×)",
                ours=f"{ours:.2f}×",
                ratio=f"{ours / copied:.2f}",
                target="≥ 0.9",
                passed=ours >= 0.9 * copied,
            )


def _startup(results: Mapping[str, Row]) -> Iterator[Line]:
    for what in _methods(results, "startup"):
        rows = [results[f"startup/{what}/{tool}"] for tool in ("kingyo", "mergekit")]
        ours, theirs = (row["seconds"] for row in rows)
        is_help = what == "help"
        yield Line(
            what="--help" if is_help else f"{what} of a 5M-parameter model",
            ours=_seconds(rows[0]),
            theirs=_seconds(rows[1]),
            ratio=f"{ours / theirs:.0%}",
            target="≤ 0.4 s" if is_help else "≤ 40%",
            passed=ours <= 0.4 if is_help else ours <= 0.4 * theirs,
        )


def _methods(results: Mapping[str, Row], part: str) -> list[str]:
    """Return the names of a part's measurements, in order."""
    return [key.split("/")[1] for key in results if key.startswith(f"{part}/") and key.endswith("/kingyo")]


def _nanoseconds(row: Row) -> str:
    return f"{row['1']:.2f} ({row['processor']:.2f})"


def _seconds(row: Row) -> str:
    return f"{row['seconds']:.2f} s ({row['processor']:.2f})"


def _kinds(row: Row) -> str:
    return f"{row['anonymous']:.0f} + {row['files']:.0f} = {row['resident']:.0f}"


def _machine(machine: Mapping[str, str], *, markdown: bool) -> str:
    return "\n".join(f"{'- ' if markdown else ''}{name}: {words}" for name, words in machine.items())


def _section(title: str, rows: Sequence[tuple[str, ...]], *, markdown: bool) -> str:
    if markdown:
        lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * len(HEAD), *rows)]
        return f"## {title}\n\n" + "\n".join(lines)
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (HEAD, *rows)
    ]
    return f"{title}\n" + "\n".join(line.rstrip() for line in lines)
