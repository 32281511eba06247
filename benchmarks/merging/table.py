"""The results beside the bars that they must pass, as text or as Markdown."""

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
    """One line of the table. ``passed`` is None where there is no bar."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    bar: str = ""
    passed: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """As text."""
        verdict = "" if self.passed is None else "yes" if self.passed else "NO"
        return self.what, self.ours, self.theirs, self.ratio, self.bar, verdict


HEAD = ("what", "kingyo", "mergekit", "ratio", "bar", "passed")


def render(results: Mapping[str, Row], machine: Mapping[str, str], *, markdown: bool) -> str:
    """All sections that were measured."""
    sections = {
        "Files to files: wall time (processor time of all threads)": _times(results),
        "Files to files: peak memory in MiB (owned + pages of files = as the kernel counts it)": _memory(
            results
        ),
        "A candidate in memory, one thread, ns per parameter (processor time)": _candidates(results),
        "Two threads in memory": _threads(results, machine.get("size", "0.5b")),
        "Start-up: wall time (processor time of all threads)": _startup(results),
    }
    parts = [_machine(machine, markdown=markdown)]
    for title, lines in sections.items():
        found = list(lines)
        if found:
            parts.append(_section(title, [line.cells() for line in found], markdown=markdown))
    return "\n\n".join(parts)


def _times(results: Mapping[str, Row]) -> Iterator[Line]:
    for method in _methods(results, "files"):
        rows = [results[f"files/{method}/{tool}"] for tool in ("kingyo", "mergekit")]
        ours, theirs = (row["seconds"] for row in rows)
        bar = 4 if method in _SIMPLE else 10
        yield Line(
            what=method,
            ours=_seconds(rows[0]),
            theirs=_seconds(rows[1]),
            ratio=f"{theirs / ours:.1f}×",
            bar=f"≥ {bar}×",
            passed=theirs / ours >= bar,
        )
    merges = {
        "linear": results.get("files/linear/kingyo"),
        "linear, once all is imported,": results.get("limit/engine"),
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
                    bar="≤ 1.5×",
                    passed=share <= 1.5,
                )


def _memory(results: Mapping[str, Row]) -> Iterator[Line]:
    for method in _methods(results, "files"):
        ours, theirs = (results[f"files/{method}/{tool}"] for tool in ("kingyo", "mergekit"))
        yield Line(
            what=method,
            ours=_kinds(ours),
            theirs=_kinds(theirs),
            ratio="; owned ".join(f"{ours[kind] / theirs[kind]:.0%}" for kind in ("resident", "anonymous")),
            bar="≤ 60 %",
            passed=ours["resident"] <= 0.6 * theirs["resident"],
        )
        yield Line(
            what=f"{method}: owned memory",
            ours=f"{ours['anonymous']:.0f}",
            bar="≤ 1536",
            passed=ours["anonymous"] <= 1536,
        )
    one, many = (results.get(f"shards/{n}/kingyo") for n in (1, 8))
    if one is not None and many is not None:
        yield Line(
            what="linear from 8 shards a model, against 1",
            ours=f"{_kinds(many)} against {_kinds(one)}",
            ratio=f"owned {many['anonymous'] / one['anonymous']:.2f}×",
            bar="≤ 1.05×",
            passed=many["anonymous"] <= 1.05 * one["anonymous"],
        )


def _candidates(results: Mapping[str, Row]) -> Iterator[Line]:
    for what in _methods(results, "memory"):
        method = what.split(" of ")[0]
        ours, theirs = results[f"memory/{what}/kingyo"], results.get(f"memory/{what}/mergekit")
        bar = 2 if method in _DENSE else 4 if method in _SPARSE else None
        yield Line(
            what=f"{what} against copying ({ours['copy 1']:.2f})",
            ours=_nanoseconds(ours),
            ratio=f"{ours['1'] / ours['copy 1']:.1f}×",
            bar="" if bar is None else f"≤ {bar}×",
            passed=None if bar is None else ours["1"] <= bar * ours["copy 1"],
        )
        if theirs is not None:
            gain = theirs["1"] / ours["1"]
            yield Line(
                what=f"{what} against mergekit's functions",
                ours=_nanoseconds(ours),
                theirs=_nanoseconds(theirs),
                ratio=f"{gain:.0f}×",
                bar="" if method in _DENSE else "≥ 100×",
                passed=None if method in _DENSE else gain >= 100,
            )


def _threads(results: Mapping[str, Row], size: str) -> Iterator[Line]:
    for part, title in (("threads", size.upper()), ("memory", "25M")):
        for what in _methods(results, part):
            row = results[f"{part}/{what}/kingyo"]
            ours, copied = row["1"] / row["2"], row["copy 1"] / row["copy 2"]
            yield Line(
                what=f"{what}, {title}: gain, against that of copying ({copied:.2f}×)",
                ours=f"{ours:.2f}×",
                ratio=f"{ours / copied:.2f}",
                bar="≥ 0.9",
                passed=ours >= 0.9 * copied,
            )


def _startup(results: Mapping[str, Row]) -> Iterator[Line]:
    for what in _methods(results, "startup"):
        rows = [results[f"startup/{what}/{tool}"] for tool in ("kingyo", "mergekit")]
        ours, theirs = (row["seconds"] for row in rows)
        is_help = what == "help"
        yield Line(
            what="--help" if is_help else f"{what} of a model of 5M parameters",
            ours=_seconds(rows[0]),
            theirs=_seconds(rows[1]),
            ratio=f"{ours / theirs:.0%}",
            bar="≤ 0.4 s" if is_help else "≤ 40 %",
            passed=ours <= 0.4 if is_help else ours <= 0.4 * theirs,
        )


def _methods(results: Mapping[str, Row], part: str) -> list[str]:
    """What a part measured for both tools or ours, in order."""
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
