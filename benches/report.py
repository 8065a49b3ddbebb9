"""Markdown: tables, the machine and the versions."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import measure
from marks import Mark

PEERS = ("duckdb", "polars", "chdb", "pyspark")
# The part of the results that `history.py` writes.
HISTORY = "make bench-history"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """All but the first column on the right; cells padded, so that it reads well as text."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def marks(marks: Sequence[Mark]) -> str:
    rows = [(mark.what, mark.goal, mark.measured, "pass" if mark.passed else "**miss**") for mark in marks]
    return table(("mark", "goal", "measured", ""), rows)


def machine() -> str:
    """CPU, cores, memory, kernel and load."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return (
        f"{model.group(1) if model else platform.machine()}, {measure.CORES} of {os.cpu_count()} cores, "
        f"{int(memory.group(1)) * 1024 / 1e9:.0f} GB of memory, {platform.system()} {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f} before the first run"
    )


def versions(binary: Path) -> str:
    """Of defender-lake, of the peers and what they run on."""
    java = subprocess.run(["java", "-version"], check=True, capture_output=True, text=True).stderr.splitlines()[0]
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return f"{own_version(binary)}, {peers}, Python {platform.python_version()}, {java}"


def own_version(binary: Path) -> str:
    """Of defender-lake, with the commit of the sources around."""
    own = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    ).stdout.strip()
    return f"{own} ({commit or 'no git'})"


def write_part(file: Path, name: str, text: str) -> None:
    """Puts a part into a file of results that has others, in the place that it had."""
    before = file.read_text() if file.exists() else ""
    kept = part(file, name)
    marked = f"{opening(name)}\n{text}{closing(name)}\n"
    file.write_text(before.replace(kept, marked) if kept else f"{before}\n{marked}".lstrip())


def part(file: Path, name: str) -> str:
    """The part of that name in a file of results; empty where it has none."""
    text = file.read_text() if file.exists() else ""
    found = re.search(re.escape(opening(name)) + r"\n.*?" + re.escape(closing(name)) + r"\n", text, re.DOTALL)
    return found.group() if found else ""


def opening(name: str) -> str:
    return f"<!-- {name} -->"


def closing(name: str) -> str:
    return f"<!-- end of {name} -->"
