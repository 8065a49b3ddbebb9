"""The benchmark: defender-lake and its peers do the same job in turn, and defender-lake's own marks are measured.

    .tools/bench/bin/python3 benches/bench.py target/release/defender-lake [--rounds 9] [--parts peers memory cost rescue compatibility]

Prints tables, and writes them to a file with --results. Fails if the tools' outputs differ, if one cannot read
another's files, and with --must-pass if a mark is missed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import marks
import measure
import program
import report
import snapshots
from marks import Mark
from measure import Cost, Failed

DEVICES = 200_000
BLOBS = 16
JSON_OF_ONE_BLOB = 2_000_000_000
DEVICES_OF_SMALL_GROUP = 100
DEVICES_OF_SMALL_RUN = 100
# Spark takes tens of seconds, and so do runs of large snapshots: of these, fewer are made.
MOST_SLOW_ROUNDS = 3
# Of runs that take a tenth of a second, of which a few milliseconds are noise, more are made.
ROUNDS_OF_SMALL_RUN = 5

OWN = "defender-lake"
OWN_FROM_SIMULATOR = "defender-lake, from the simulator"
PEERS = {"DuckDB": "duckdb", "Polars": "polars", "ClickHouse (chdb)": "chdb", "PySpark": "pyspark"}
RULES = "attack surface reduction rules"
PEER_SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Bench:
    """What all parts share. `devices` other than DEVICES scales every snapshot, for a trial."""

    binary: Path
    folder: Path
    rounds: int
    devices: int

    @property
    def slow_rounds(self) -> int:
        return min(self.rounds, MOST_SLOW_ROUNDS)

    @contextmanager
    def snapshot(self, devices: int, blobs: int = BLOBS, groups: int | None = None) -> Iterator[Path]:
        """A generated snapshot that is deleted with the context."""
        folder = self.folder / f"snapshot-{devices}-{blobs}"
        try:
            say(f"generating {devices:,} devices in {blobs} blobs")
            yield snapshots.generate(self.binary, folder, devices, blobs, groups)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, source: program.Source, rounds: int) -> Cost:
        """Runs of defender-lake, by their medians."""
        return measure.median_of([self.run_once(source) for _ in range(rounds)])

    def run_once(self, source: program.Source) -> Cost:
        folder = self.folder / "run"
        try:
            return program.run(self.binary, source, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Section:
    """A part's findings: text for the results, and marks."""

    text: str
    marks: list[Mark]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def peers(bench: Bench) -> Section:
    """All tools do the job in turn, round by round; their outputs are compared, and read by all."""
    with bench.snapshot(bench.devices) as snapshot, program.simulator(bench.binary, snapshot) as simulator:
        jobs: dict[str, Callable[[Path], Cost]] = {
            OWN: lambda folder: program.run(bench.binary, program.files(snapshot), folder),
            OWN_FROM_SIMULATOR: lambda folder: program.run(bench.binary, simulator, folder),
        } | {tool: lambda folder, script=script: peer_job(script, snapshot, folder) for tool, script in PEERS.items()}
        folders = {tool: bench.folder / f"output-{at}" for at, tool in enumerate(jobs)}
        tables = {tool: program.table(folder) if tool not in PEERS else folder for tool, folder in folders.items()}

        costs: dict[str, list[Cost]] = {tool: [] for tool in jobs}
        for round_number in range(bench.rounds):
            for tool, job in jobs.items():
                if tool == "PySpark" and round_number >= bench.slow_rounds:
                    continue
                shutil.rmtree(folders[tool], ignore_errors=True)
                cost = job(folders[tool])
                costs[tool].append(cost)
                peak = f"{cost.peak / 1e6:.0f} MB"
                say(f"round {round_number + 1}: {tool}: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s, {peak}")
        compare(tables)
        json_size, gzip_size = snapshots.json_bytes(snapshot) / 1e6, snapshots.compressed_bytes(snapshot) / 1e6
        size = f"{json_size:,.0f} MB of JSON, {gzip_size:.0f} MB of gzip"

    medians = {tool: measure.median_of(of_tool) for tool, of_tool in costs.items()}
    written = {tool: data_bytes(table) for tool, table in tables.items()}
    own, own_bytes = medians[OWN], written[OWN]
    rows = [
        (
            tool,
            *figure(cost.wall, own.wall, "{:.2f}"),
            *figure(cost.cpu, own.cpu, "{:.2f}"),
            *figure(cost.peak / 1e6, own.peak / 1e6, "{:.0f}"),
            *figure(written[tool] / 1e6, own_bytes / 1e6, "{:.2f}"),
        )
        for tool, cost in medians.items()
    ]
    head = ("tool", "wall, s", "ratio", "CPU, s", "ratio", "peak, MB", "ratio", "output, MB", "ratio")
    text = (
        f"## The same job by others\n\n{bench.devices:,} devices in {BLOBS} blobs: {size}. Medians of rounds in which "
        f"the tools took turns ({bench.rounds}; PySpark: {bench.slow_rounds}); ratios to defender-lake.\n\n"
        f"{report.table(head, rows)}\n\n"
        "Every tool wrote the same totals: rows of each group, nested values, sums of times to the microsecond. Every\n"
        "peer reads the same in all their files. A peer writes the schema's columns. defender-lake also writes\n"
        "`generated_time`, `org_id` and `_rescued_data`, checks counts and checksums, and commits to a Delta log.\n\n"
        "Each is a process of its own, start and imports included, with two threads on the same two cores; all write\n"
        "zstd level 1. [The peers' scripts](peers) give them an explicit schema.\n"
    )
    of_peers = {tool: cost for tool, cost in medians.items() if tool in PEERS}
    return Section(
        text,
        [
            marks.wall(own.wall, {tool: cost.wall for tool, cost in of_peers.items()}),
            marks.output_bytes(own_bytes, {tool: written[tool] for tool in of_peers}),
            marks.simulator(own.wall, medians[OWN_FROM_SIMULATOR].wall),
        ],
    )


def peer_job(script: str, snapshot: Path, folder: Path) -> Cost:
    return measure.cost_of([sys.executable, PEER_SCRIPTS / f"{script}_job.py", snapshot, folder], folder.parent)


def figure(value: float, own: float, form: str) -> tuple[str, str]:
    return form.format(value), f"{value / own:.2f}"


def data_bytes(table: Path) -> int:
    return sum(file.stat().st_size for file in table.glob("generated_date=*/*/*.parquet"))


def compare(tables: dict[str, Path]) -> None:
    """Fails unless all tables have the same totals, and every peer reads the same of all of them."""
    totals = ask_peer("totals.py", *tables.values())
    own = totals[str(tables[OWN])]
    for tool, table in tables.items():
        of_tool = totals[str(table)]
        if different := [f"{name}: {own[name]} and {of_tool[name]}" for name in own if of_tool[name] != own[name]]:
            raise Failed(f"{OWN} and {tool} wrote different totals: {'; '.join(different)}")
    say(f"all wrote the same totals: {own}")
    for peer, script in PEERS.items():
        read = ask_peer("read_back.py", script, *tables.values())
        rows, rules, _ = of_own = read[str(tables[OWN])]
        if any(values != of_own for values in read.values()) or (rows, rules) != (own["rows"], own[RULES]):
            raise Failed(f"{peer} reads differently what all wrote: {read}")
        say(f"{peer} reads the same in all files: {of_own}")


def ask_peer(script: str, *arguments: str | Path) -> dict:
    """What a script of the peers prints. It is a process of its own to keep this one's memory small (see `measure`)."""
    done = subprocess.run([sys.executable, PEER_SCRIPTS / script, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{script} {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def memory(bench: Bench) -> Section:
    """Peak memory of defender-lake for snapshots of different shapes, from files and from the simulator."""

    def peaks(snapshot: Path, rounds: int) -> tuple[float, float]:
        from_files = bench.run(program.files(snapshot), rounds)
        with program.simulator(bench.binary, snapshot) as simulator:
            from_simulator = bench.run(simulator, rounds)
        say(f"peak {from_files.peak / 1e6:.0f} MB from files, {from_simulator.peak / 1e6:.0f} MB from the simulator")
        return from_files.peak, from_simulator.peak

    of_shape: dict[str, tuple[float, float]] = {}
    usual = f"{bench.devices:,} devices, {BLOBS} blobs"
    with bench.snapshot(bench.devices) as snapshot:
        of_shape[usual] = peaks(snapshot, bench.rounds)
        json_per_device = snapshots.json_bytes(snapshot) / bench.devices
        groups = bench.devices // DEVICES_OF_SMALL_GROUP
        say(f"regrouping into {groups:,} groups of {DEVICES_OF_SMALL_GROUP} devices")
        regrouped = snapshots.regroup(snapshot, bench.folder / "regrouped", DEVICES_OF_SMALL_GROUP)
        of_shape[f"{groups:,} groups of {DEVICES_OF_SMALL_GROUP} devices"] = peaks(regrouped, bench.slow_rounds)
        shutil.rmtree(regrouped)
    with bench.snapshot(5 * bench.devices) as snapshot:
        of_shape["5 times the devices"] = peaks(snapshot, bench.slow_rounds)
    in_one_blob = round(JSON_OF_ONE_BLOB / json_per_device * 1.01 * bench.devices / DEVICES)
    with bench.snapshot(in_one_blob, blobs=1, groups=1) as snapshot:
        blobs = snapshots.blobs(snapshot)
        if len(blobs) != 1:
            raise Failed(f"simulate wrote {len(blobs)} blobs, not one")
        shape = f"one blob of {snapshots.json_bytes(snapshot) / 1e9:.1f} GB of JSON"
        of_shape[shape] = peaks(snapshot, bench.slow_rounds)

    rows, growths = [], []
    for shape, of_sources in of_shape.items():
        ratios = [peak / peak_of_usual for peak, peak_of_usual in zip(of_sources, of_shape[usual], strict=True)]
        cells = [(f"{peak / 1e6:.0f}", f"{ratio:.2f}") for peak, ratio in zip(of_sources, ratios, strict=True)]
        rows.append((shape, *cells[0], *cells[1]))
        if shape != usual:
            growths.append(marks.peak_growth(shape, max(ratios)))
    head = ("snapshot", "from files, MB", "ratio", "from the simulator, MB", "ratio")
    about = "Resident, as the kernel counted it; ratios to the first line."
    text = f"## Peak memory\n\n{about}\n\n{report.table(head, rows)}\n"
    return Section(text, [marks.peak(max(of_shape[usual])), *growths])


def cost(bench: Bench) -> Section:
    """CPU time per device from small to large snapshots, and what a run costs that has nearly nothing to do.

    The sizes take turns: on a shared machine a second of CPU time is not worth the same a minute later."""
    sizes = (DEVICES_OF_SMALL_RUN, bench.devices // 10, bench.devices, 10 * bench.devices)
    runs: dict[int, list[Cost]] = {devices: [] for devices in sizes}
    with ExitStack() as snapshots_of_sizes:
        sources = {
            devices: program.files(snapshots_of_sizes.enter_context(bench.snapshot(devices))) for devices in sizes
        }
        for _ in range(bench.rounds):
            for devices, source in sources.items():
                rounds = ROUNDS_OF_SMALL_RUN if devices < bench.devices else 1
                runs[devices] += [bench.run_once(source) for _ in range(rounds)]
    costs = {devices: measure.median_of(of_size) for devices, of_size in runs.items()}
    for devices, of in costs.items():
        say(f"{devices:,} devices: {of.wall:.3f} s, CPU {of.cpu:.3f} s")

    def of_each_more(fewer: int, devices: int) -> float:
        return (costs[devices].cpu - costs[fewer].cpu) / (devices - fewer)

    rows = []
    for at, (devices, of) in enumerate(costs.items()):
        each = [of_each_more(fewer, devices) for fewer in (sizes[0], sizes[at - 1])] if at else []
        cells = [f"{seconds * 1e6:.1f}" for seconds in each] or ["", ""]
        rows.append((f"{devices:,}", f"{of.wall:.3f}", f"{of.cpu:.3f}", *cells, f"{of.peak / 1e6:.0f}"))
    head = (
        "devices",
        "wall, s",
        "CPU, s",
        "of each more than in the first line, µs",
        "than in the line before, µs",
        "peak, MB",
    )
    text = (
        f"## Cost by size\n\nFrom files, in {BLOBS} blobs. Medians of rounds in which the sizes took turns.\n\n"
        f"{report.table(head, rows)}\n\n"
        f"The first {sizes[1]:,} devices also bring into use the buffers and the code that then serve any number.\n"
    )
    # The first devices of any run cost more: the mark is for those that a larger run has more.
    steps = {step: of_each_more(*step) for step in pairwise(sizes[1:])}
    small = costs[DEVICES_OF_SMALL_RUN]
    return Section(text, [marks.cpu_per_device(steps), marks.fixed_cost(DEVICES_OF_SMALL_RUN, small.wall)])


def rescue(bench: Bench) -> Section:
    """What it costs to keep in every record what the schema does not name, or does not fit its column."""
    usual = "the schema's keys and types"
    changes = {
        usual: bytes,
        "an unknown key in every record": snapshots.with_unknown_key,
        "a misfit in every record": snapshots.with_misfit,
    }
    runs: dict[str, list[Cost]] = {record: [] for record in changes}
    with bench.snapshot(bench.devices) as snapshot:
        altered = bench.folder / "altered"
        sources = {
            record: program.files(snapshots.alter(snapshot, altered / str(at), change))
            for at, (record, change) in enumerate(changes.items())
        }
        for _ in range(bench.rounds):
            for record, source in sources.items():
                runs[record].append(bench.run_once(source))
        shutil.rmtree(altered)
    costs = {record: measure.median_of(of_record) for record, of_record in runs.items()}
    of_usual = costs[usual]
    rows, found = [], []
    for record, of in costs.items():
        ratio = of.cpu / of_usual.cpu
        say(f"{record}: {of.wall:.3f} s, CPU {of.cpu:.3f} s")
        rows.append((record, f"{of.wall:.3f}", f"{of.cpu:.3f}", f"{ratio:.2f}", f"{of.peak / 1e6:.0f}"))
        if record != usual:
            found.append(marks.rescue(record, ratio))
    head = ("records with", "wall, s", "CPU, s", "ratio", "peak, MB")
    about = f"{bench.devices:,} devices from files; the key and the value are within `DeviceGatheredInfo`. Medians of rounds in turn."
    return Section(f"## Rescued values\n\n{about}\n\n{report.table(head, rows)}\n", found)


def compatibility(bench: Bench) -> Section:
    """What files for older readers cost."""
    choices = ("modern", "broad")
    runs: dict[str, list[Cost]] = {choice: [] for choice in choices}
    written = {}
    folder = bench.folder / "run"
    with bench.snapshot(bench.devices) as snapshot:
        for _ in range(bench.rounds):
            for choice in choices:
                source = program.files(snapshot, f'compatibility = "{choice}"\n')
                runs[choice].append(program.run(bench.binary, source, folder))
                written[choice] = sum(file.stat().st_size for file in program.table(folder).rglob("part-*.parquet"))
                shutil.rmtree(folder)
    costs = {choice: measure.median_of(of_choice) for choice, of_choice in runs.items()}
    modern, rows = costs["modern"], []
    for choice, of in costs.items():
        figures = (of.wall / modern.wall, of.cpu / modern.cpu, of.peak / modern.peak, written[choice] / written["modern"])
        say(f"{choice}: {of.wall:.3f} s, CPU {of.cpu:.3f} s, {written[choice]:,} bytes")
        rows.append((choice, *(f"{figure:.2f}" for figure in figures)))
    head = ("lake.compatibility", "wall", "CPU", "peak", "bytes")
    about = f"{bench.devices:,} devices from files, as ratios to `modern`. Medians of rounds in turn."
    return Section(f"## Files for older readers\n\n{about}\n\n{report.table(head, rows)}\n", [])


PARTS = {"peers": peers, "memory": memory, "cost": cost, "rescue": rescue, "compatibility": compatibility}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--rounds", type=int, default=9, help="runs of each, of which the median counts (default: 9)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--results", type=Path, help="write the tables to this file")
    parser.add_argument("--must-pass", action="store_true", help="fail if a mark is missed")
    parser.add_argument("--devices", type=int, default=DEVICES, help="for a trial: scales all snapshots")
    parser.add_argument("--folder", type=Path, help="where 2 GB are free (default: the system's for temporary files)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    measure.keep_to_cores()
    binary = options.binary.resolve()
    machine = report.machine()
    with tempfile.TemporaryDirectory(prefix="defender-lake-bench-", dir=options.folder) as folder:
        bench = Bench(binary, Path(folder), options.rounds, options.devices)
        sections = []
        for part in options.parts:
            section = PARTS[part](bench)
            print(f"{section.text}\n{report.marks(section.marks)}\n", flush=True)
            sections.append(section)
    found = [mark for section in sections for mark in section.marks]
    if options.results:
        today = datetime.now(UTC).date()
        head = (
            "# Results of the benchmark\n\n"
            f"`make bench` wrote this on {today}: `benches/bench.py {' '.join(sys.argv[1:])}`.\n\n"
            f"* Machine: {machine}\n* Versions: {report.versions(binary)}\n\n## Marks\n\n{report.marks(found)}\n"
        )
        texts = [head, *(section.text for section in sections)]
        # `history.py` writes it.
        if history := report.part(options.results, report.HISTORY):
            texts.append(history)
        options.results.write_text("\n".join(texts))
    if options.must_pass and not all(mark.passed for mark in found):
        raise Failed("a mark is missed")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        raise SystemExit(f"bench: {failure}") from None
