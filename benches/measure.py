"""What a process costs: wall time, CPU time, peak memory, and bytes read and written, as the kernel counted them."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, median

# Every process that is measured, the simulator among them, has the same cores.
CORES = 2
# After idling, the cores of a virtual machine work more slowly for a while: a run of a tenth of a second took 14% more CPU
# time. So none begins there.
SECONDS_OF_WAKING = 0.2


@dataclass(frozen=True)
class Cost:
    """`wall` and `cpu` in seconds; `cpu` is user and system time of the process and of the children that it waited for.
    `peak` is the largest resident size in bytes that it or one of them had, and not below the benchmark's own.
    `read` and `written` are the bytes that their calls of `read` and `write` moved, of files from the cache as well."""

    wall: float
    cpu: float
    peak: float
    read: float
    written: float


class Failed(Exception):
    """A command ended with an error; tells which, and what it said last."""


def keep_to_cores() -> None:
    """Holds this process and all that it starts on the first cores that it may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < CORES:
        raise Failed(f"{CORES} cores are needed, and {len(allowed)} is here")
    os.sched_setaffinity(0, allowed[:CORES])


def wake_cores() -> None:
    """Keeps the cores busy for a moment."""
    children = []
    for core in os.sched_getaffinity(0):
        child = os.fork()
        if child == 0:
            os.sched_setaffinity(0, [core])
            end = time.monotonic() + SECONDS_OF_WAKING
            while time.monotonic() < end:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def cost_of(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end in that folder, with the environment added to this one."""
    os.sync()  # what an earlier command wrote is not written out on this one's time
    wake_cores()
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall = time.perf_counter() - start
        read, written = bytes_moved(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}: {said}")
    # Before it becomes another program, a new process has its parent's memory, and the kernel counts that as its own.
    cpu, peak = usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss, own_peak()) * 1024
    return Cost(wall, cpu, peak, read, written)


def bytes_moved(ended: int) -> tuple[int, int]:
    """Read and written by a process that has ended and that nobody has waited for yet."""
    lines = Path(f"/proc/{ended}/io").read_text().splitlines()
    counts = {name: int(count) for name, count in (line.split(": ") for line in lines)}
    return counts["rchar"], counts["wchar"]


def own_peak() -> int:
    """The largest resident size of this process, KiB: a smaller one of another cannot be told from it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def median_of(costs: Sequence[Cost]) -> Cost:
    """Each figure's own median."""
    return each_figure(median, costs)


def mean_of(costs: Sequence[Cost]) -> Cost:
    """Each figure's own mean."""
    return each_figure(mean, costs)


def each_figure(of: Callable[[Sequence[float]], float], costs: Sequence[Cost]) -> Cost:
    return Cost(**{figure.name: of([getattr(cost, figure.name) for cost in costs]) for figure in fields(Cost)})
