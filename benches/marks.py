"""The marks that defender-lake set itself, and whether what was measured reaches them."""

from dataclasses import dataclass

WALL_OF_FASTEST_PEER = 0.25
PEAK_MB = 150
PEAK_GROWTH = 1.15
CPU_SPREAD = 1.15
SIMULATOR_TO_FILES = 1.15
FIXED_SECONDS = 0.150
RESCUE_CPU = 1.15
HISTORY_COST = 1.5
HISTORY_REQUESTS = 1.1
HISTORY_BYTES_DOWN = 1_000_000
VACUUM_SECONDS = 3
VERIFY_SECONDS = 5


@dataclass(frozen=True)
class Mark:
    """`goal` and `measured` are the ends of a sentence that begins with `what`."""

    what: str
    goal: str
    measured: str
    passed: bool
    # Whether it is missed by more than a tenth, where that is asked.
    far_off: bool = False


def wall(own: float, peers: dict[str, float]) -> Mark:
    fastest = min(peers, key=peers.__getitem__)
    ratio = own / peers[fastest]
    return Mark(
        "wall time, of the fastest peer's",
        f"at most {WALL_OF_FASTEST_PEER}",
        f"{ratio:.2f} ({own:.2f} s; {fastest} {peers[fastest]:.2f} s)",
        ratio <= WALL_OF_FASTEST_PEER,
    )


def output_bytes(own: int, peers: dict[str, int]) -> Mark:
    smallest = min(peers, key=peers.__getitem__)
    return Mark(
        "output bytes, of the smallest peer's",
        "at most 1",
        f"{own / peers[smallest]:.3f} ({own:,}; {smallest} {peers[smallest]:,})",
        own <= peers[smallest],
    )


def simulator(from_files: float, from_simulator: float) -> Mark:
    ratio = from_simulator / from_files
    return Mark(
        "wall time from the simulator over loopback, of that from files",
        f"at most {SIMULATOR_TO_FILES}",
        f"{ratio:.2f} ({from_simulator:.2f} s; files {from_files:.2f} s)",
        ratio <= SIMULATOR_TO_FILES,
    )


def peak(peak_bytes: float) -> Mark:
    return Mark("peak memory", f"at most {PEAK_MB} MB", f"{peak_bytes / 1e6:.0f} MB", peak_bytes <= PEAK_MB * 1_000_000)


def peak_growth(snapshot: str, ratio: float) -> Mark:
    return Mark(
        f"peak memory for {snapshot}, of the usual", f"at most {PEAK_GROWTH}", f"{ratio:.3f}", ratio <= PEAK_GROWTH
    )


def cpu_per_device(seconds: dict[tuple[int, int], float]) -> Mark:
    """Of a number of devices and a larger one -> CPU seconds of each device that the larger has more."""
    spread = max(seconds.values()) / min(seconds.values())
    steps = (f"{fewer:,} to {devices:,}: {each * 1e6:.1f} µs" for (fewer, devices), each in seconds.items())
    return Mark(
        "CPU time of each device more, the largest of the smallest",
        f"at most {CPU_SPREAD}",
        f"{spread:.2f} ({', '.join(steps)})",
        spread <= CPU_SPREAD,
    )


def rescue(record: str, ratio: float) -> Mark:
    return Mark(f"CPU time with {record}, of that without", f"at most {RESCUE_CPU}", f"{ratio:.3f}", ratio <= RESCUE_CPU)


def fixed_cost(devices: int, seconds: float) -> Mark:
    return Mark(
        f"wall time of a run of {devices} devices",
        f"at most {FIXED_SECONDS * 1000:.0f} ms",
        f"{seconds * 1000:.0f} ms",
        seconds <= FIXED_SECONDS,
    )


def history_cost(figure: str, early: int, late: int, before: float, after: float) -> Mark:
    """`before` and `after` are what the runs after day `early` and after day `late` take of the figure."""
    ratio = after / before
    what = f"{figure} of a run after {late:,} days, of one after {early}"
    return at_most(what, ratio, HISTORY_COST, f"at most {HISTORY_COST}", f"{ratio:.2f}")


def history_requests(early: float, late: float, days: int) -> Mark:
    ratio = late / early
    what = f"requests of a run after {days} days, of that of day 3"
    return at_most(what, ratio, HISTORY_REQUESTS, f"at most {HISTORY_REQUESTS}", f"{ratio:.2f} ({late:.0f}; {early:.0f})")


def history_bytes_down(usual: float, most: float, days: int) -> Mark:
    goal, measured = f"at most {HISTORY_BYTES_DOWN / 1e6:.0f} MB", f"{usual / 1e6:.2f} MB (the most {most / 1e6:.2f} MB)"
    return at_most(f"bytes that a run reads after {days} days on S3", usual, HISTORY_BYTES_DOWN, goal, measured)


def history_command(command: str, seconds: float, limit: float, days: int) -> Mark:
    return at_most(f"wall time of `{command}` of {days} days on S3", seconds, limit, f"at most {limit} s", f"{seconds:.2f} s")


def at_most(what: str, value: float, limit: float, goal: str, measured: str) -> Mark:
    return Mark(what, goal, measured, value <= limit, far_off=value > 1.1 * limit)
