"""What a run costs as the lake's history grows: on local disk, and on S3 whose every request takes a while.

    python3 benches/history.py target/release/defender-lake [--days 1000] [--s3-days 200] [--rounds 3] [--parts local s3]

Every day has as many devices, so that what grows from day to day is the history's. Prints tables, and puts them into a
file with --results. Fails if a mark is missed by more than a tenth: on a shared machine, less is noise.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import mean

import garage
import marks
import measure
import program
import report
import snapshots
import traffic
from bench import Section, say
from measure import Cost, Failed
from traffic import CountingProxy, Traffic

DAYS, S3_DAYS = 1_000, 200
MILESTONES = (10, 100, 400)
S3_MILESTONES = (20, 100)
FIRST_S3_DAY = 3
DEVICES, GROUPS = 2_000, 40
# So early that none of the days is to come; `simulate` begins later.
FIRST_DAY = date(2022, 7, 26)
# The log has a checkpoint every tenth entry, and where it is long up to fifty apart. Measured are as many runs in a row: at least one
# of them writes one, and the others find from none to all entries after the last. On S3 no log is that long.
LOCAL_CYCLE = 50
CYCLE = 10
SECONDS_OF_REQUEST = 0.030
COMMANDS = {"vacuum": ["vacuum"], "verify": ["verify"], "verify --all": ["verify", "--all"]}
LIMITS = {"vacuum": marks.VACUUM_SECONDS, "verify": marks.VERIFY_SECONDS}
SECONDS_BETWEEN_REPORTS = 30


class Days:
    """The export of one day at a time: the devices of the day before, some of them changed."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self.source = program.files(folder)

    def turn_to(self, day: int) -> None:
        """Makes it that of a day, from 1."""
        shutil.rmtree(self._folder, ignore_errors=True)
        snapshots.generate(self._binary, self._folder, DEVICES, GROUPS, GROUPS, day)
        [dated] = self._folder.iterdir()
        dated.rename(self._folder / (FIRST_DAY + timedelta(days=day - 1)).isoformat())


@dataclass(frozen=True)
class History:
    """What both parts share."""

    binary: Path
    folder: Path
    days: Days
    rounds: int

    def publish(self, pipeline: Path, day: int) -> None:
        """A run that is not measured."""
        self.days.turn_to(day)
        done = subprocess.run(program.run_command(self.binary), cwd=pipeline, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"the run of day {day} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")

    def measure(self, pipeline: Path, day: int) -> Cost:
        self.days.turn_to(day)
        return measure.cost_of(program.run_command(self.binary), pipeline)

    def command(self, pipeline: Path, command: Sequence[str]) -> Cost:
        return measure.cost_of([self.binary, *command, program.PIPELINE], pipeline)

    def check_days(self, pipeline: Path, days: int) -> None:
        """Fails unless the lake has that many snapshots: a run that published nothing is no measure of one."""
        command = [self.binary, "snapshots", program.PIPELINE, "--json"]
        listed = subprocess.run(command, cwd=pipeline, capture_output=True, text=True)
        if listed.returncode != 0 or len(json.loads(listed.stdout)) != days:
            raise Failed(f"not {days} snapshots in the lake: {(listed.stdout + listed.stderr)[-2000:]}")


class Progress:
    """Says now and then how far a long building is."""

    def __init__(self, what: str, days: int) -> None:
        self._what, self._days = what, days
        self._said = self._begun = time.monotonic()

    def at(self, day: int) -> None:
        now = time.monotonic()
        if now - self._said > SECONDS_BETWEEN_REPORTS or day == self._days:
            self._said = now
            say(f"{self._what}: day {day:,} of {self._days:,} after {now - self._begun:.0f} s")


def on_local_disk(history: History, days: int) -> Section:
    """Copies of one lake at different ages publish their next days in turn."""
    ages = [*(age for age in MILESTONES if age < days), days]
    by_day = costs_in_turn(history, lakes_of_ages(history, ages))
    means = {age: measure.mean_of(of_age) for age, of_age in by_day.items()}
    peaks = {age: max(of_day.peak for of_day in of_age) for age, of_age in by_day.items()}
    # The longest run is one that writes a checkpoint.
    checkpoints = {age: max(of_age, key=lambda cost: cost.cpu) for age, of_age in by_day.items()}
    first, last = ages[0], ages[-1]
    rows = [(f"{age:,}", *cells(means[age], means[first], peaks[age], peaks[first])) for age in ages]
    wrote = checkpoints[first]
    of_checkpoints = [(f"{age:,}", *cells(of, wrote, of.peak, wrote.peak)) for age, of in checkpoints.items()]
    head = ("days before", "wall, s", "ratio", "CPU, s", "ratio", "peak, MB", "ratio", "read, MB", "written, MB")
    text = (
        f"### On local disk\n\n{DEVICES:,} devices in {GROUPS} groups a day, some of them changed, from files, with a Delta log. Copies of\n"
        f"one lake at different ages published their next {LOCAL_CYCLE} days in turn: the mean of these runs, each the median of the rounds\n"
        f"({history.rounds}), and the largest of their peaks. Ratios to the first line. Read and written are bytes of `read` and `write` calls,\n"
        f"from the cache as well.\n\n{report.table(head, rows)}\n\n"
        f"Some of them write a checkpoint of the log, one of 10 at first and one of {LOCAL_CYCLE} at last; the longest of these:\n\n{report.table(head, of_checkpoints)}\n\n"
        "All entries were written within hours, so the log kept them all. Of runs a day apart it would keep those of 30 days.\n"
    )
    before, after = means[first], means[last]
    return Section(
        text,
        [
            marks.history_cost("CPU time", first, last, before.cpu, after.cpu),
            marks.history_cost("wall time", first, last, before.wall, after.wall),
            marks.history_cost("peak memory", first, last, peaks[first], peaks[last]),
        ],
    )


def lakes_of_ages(history: History, ages: Sequence[int]) -> dict[int, Path]:
    """One lake as it was after so many days."""
    built, days = history.folder / "built", max(ages)
    program.write_pipeline(built, history.days.source, 'root = "lake"\n')
    kept = {age: history.folder / f"kept-{age}" for age in ages}
    progress = Progress("local lake", days)
    for day in range(1, days + 1):
        history.publish(built, day)
        if day in kept:
            link_all(built, kept[day])
        progress.at(day)
    shutil.rmtree(built)
    return kept


def costs_in_turn(history: History, kept: dict[int, Path]) -> dict[int, list[Cost]]:
    """Of each age, what its next days cost. The ages take turns: on a shared machine a second is not worth the same a
    minute later."""
    costs: dict[int, list[list[Cost]]] = {age: [[] for _ in range(LOCAL_CYCLE)] for age in kept}
    for number in range(1, history.rounds + 1):
        copies = {age: history.folder / f"copy-{age}" for age in kept}
        for age, copy in copies.items():
            link_all(kept[age], copy)
        for later in range(LOCAL_CYCLE):
            for age, copy in copies.items():
                costs[age][later].append(history.measure(copy, age + 1 + later))
        for age, copy in copies.items():
            history.check_days(copy, age + LOCAL_CYCLE)
            shutil.rmtree(copy)
            of_round = measure.mean_of([of_day[-1] for of_day in costs[age]])
            say(f"round {number}: after {age:,} days {of_round.wall:.3f} s, CPU {of_round.cpu:.3f} s")
    return {age: [measure.median_of(of_day) for of_day in of_age] for age, of_age in costs.items()}


def cells(cost: Cost, first: Cost, peak: float, first_peak: float) -> list[str]:
    figures = [(cost.wall, first.wall, "{:.3f}", 1), (cost.cpu, first.cpu, "{:.3f}", 1), (peak, first_peak, "{:.0f}", 1e6)]
    ratios = [text for value, of, form, unit in figures for text in (form.format(value / unit), f"{value / of:.2f}")]
    return [*ratios, f"{cost.read / 1e6:.2f}", f"{cost.written / 1e6:.2f}"]


def link_all(folder: Path, copy: Path) -> None:
    """Copies a lake by links to its files: the program replaces files, and changes none."""
    shutil.copytree(folder, copy, copy_function=os.link)


@dataclass(frozen=True)
class S3Run:
    """A measured run, or a command, with what it asked of the store."""

    cost: Cost
    traffic: Traffic

    @property
    def requests(self) -> int:
        return self.traffic.requests.total()


def on_s3(history: History, days: int) -> Section:
    """One lake in Garage, through a proxy that counts."""
    ages = [*(age for age in S3_MILESTONES if age < days), days]
    cycles = {f"days {age - CYCLE + 1} to {age}": range(age - CYCLE + 1, age + 1) for age in ages}
    measured = {day for cycle in cycles.values() for day in cycle} | {FIRST_S3_DAY}
    runs, commands = runs_on_s3(history, days, measured)
    runs_of = {f"day {FIRST_S3_DAY}": [runs[FIRST_S3_DAY]]}
    runs_of |= {name: [runs[day] for day in cycle] for name, cycle in cycles.items()}
    rows = [(name, *s3_cells(of_cycle)) for name, of_cycle in runs_of.items()]
    head = ("runs of", "requests", "most", "down, MB", "most", "up, MB", "wall, s", "most", "CPU, s")
    of_commands = {f"`{name}`": [run] for name, run in commands.items()}
    told = [
        (f"`{name}`", f"{run.requests:,}", f"{run.traffic.down / 1e6:.2f}", f"{run.cost.wall:.2f}", f"{run.cost.cpu:.2f}")
        for name, run in commands.items()
    ]
    text = (
        "### On S3\n\nThe same days in Garage, which knows no puts under a condition: a lake with a single writer. A proxy counts requests\n"
        f"and the bytes of their bodies, and adds {SECONDS_OF_REQUEST * 1000:.0f} ms to each while a run is measured. Means of the days' runs, "
        f"of which every\ntenth writes a checkpoint, and the most of one.\n\n{report.table(head, rows)}\n\n"
        f"Requests by what they are for:\n\n{by_purpose(runs_of | of_commands)}\n\n"
        f"Commands after {days} days:\n\n{report.table(('command', 'requests', 'down, MB', 'wall, s', 'CPU, s'), told)}\n"
    )
    last = list(runs_of.values())[-1]
    down = [run.traffic.down for run in last]
    return Section(
        text,
        [
            marks.history_requests(runs[FIRST_S3_DAY].requests, mean(run.requests for run in last), days),
            marks.history_bytes_down(mean(down), max(down), days),
            *(marks.history_command(name, commands[name].cost.wall, limit, days) for name, limit in LIMITS.items()),
        ],
    )


def runs_on_s3(history: History, days: int, measured: set[int]) -> tuple[dict[int, S3Run], dict[str, S3Run]]:
    """The measured days of a new lake, and the commands on all of it. Requests take longer only where something is measured."""
    runs, commands = {}, {}
    pipeline = history.folder / "s3"
    with garage.start(history.folder / "garage") as store, traffic.counted(store.port) as proxy:
        program.write_pipeline(pipeline, history.days.source, store.lake("lake", proxy.port))
        progress = Progress("lake on S3", days)
        for day in range(1, days + 1):
            if day in measured:
                runs[day] = slowed(proxy, lambda: history.measure(pipeline, day))
                say(f"day {day}: {runs[day].requests} requests, {runs[day].cost.wall:.2f} s")
            else:
                history.publish(pipeline, day)
            progress.at(day)
        history.check_days(pipeline, days)
        for name, command in COMMANDS.items():
            commands[name] = slowed(proxy, lambda: history.command(pipeline, command))
            say(f"{name}: {commands[name].requests} requests, {commands[name].cost.wall:.2f} s")
    return runs, commands


def slowed(proxy: CountingProxy, run: Callable[[], Cost]) -> S3Run:
    """What `run` costs and asks, with requests that take longer."""
    proxy.take()
    proxy.delay(SECONDS_OF_REQUEST)
    cost = run()
    proxy.delay(0)
    taken = proxy.take()
    if taken.errors:
        raise Failed(f"the store answered {taken.errors} requests with an error of its own")
    return S3Run(cost, taken)


def s3_cells(runs: Sequence[S3Run]) -> list[str]:
    def both(figures: Sequence[float], form: str) -> list[str]:
        return [form.format(mean(figures)), form.format(max(figures))]

    return [
        *both([run.requests for run in runs], "{:.0f}"),
        *both([run.traffic.down / 1e6 for run in runs], "{:.2f}"),
        f"{mean(run.traffic.up for run in runs) / 1e6:.2f}",
        *both([run.cost.wall for run in runs], "{:.2f}"),
        f"{mean(run.cost.cpu for run in runs):.2f}",
    ]


def by_purpose(runs_of: dict[str, list[S3Run]]) -> str:
    """A line for each purpose, most requests first, with the mean of those runs in each column."""
    totals = {name: sum((run.traffic.requests for run in runs), Counter()) for name, runs in runs_of.items()}
    purposes = sum(totals.values(), Counter())
    rows = [
        (purpose, *(f"{total[purpose] / len(runs_of[name]):.1f}" for name, total in totals.items()))
        for purpose, _ in purposes.most_common()
    ]
    return report.table(("request", *runs_of), rows)


PARTS = {"local": on_local_disk, "s3": on_s3}


def arguments() -> argparse.Namespace:
    def whole_cycles(text: str) -> int:
        days = int(text)
        if days < CYCLE or days % CYCLE:
            raise argparse.ArgumentTypeError(f"{days} is no multiple of {CYCLE}")
        return days

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--days", type=whole_cycles, default=DAYS, help=f"of the lake on local disk (default: {DAYS})")
    parser.add_argument("--s3-days", type=whole_cycles, default=S3_DAYS, help=f"of the one on S3 (default: {S3_DAYS})")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each day, of which the median counts (default: 3)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--results", type=Path, help="put the tables into this file, which may have other parts")
    parser.add_argument("--folder", type=Path, help="where 4 GB are free (default: the system's for temporary files)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    measure.keep_to_cores()
    binary = options.binary.resolve()
    machine = report.machine()
    with tempfile.TemporaryDirectory(prefix="defender-lake-history-", dir=options.folder) as folder:
        history = History(binary, Path(folder), Days(binary, Path(folder, "export")), options.rounds)
        sections = []
        for part in options.parts:
            section = PARTS[part](history, {"local": options.days, "s3": options.s3_days}[part])
            print(f"{section.text}\n{report.marks(section.marks)}\n", flush=True)
            sections.append(section)
    found = [mark for section in sections for mark in section.marks]
    if options.results:
        versions = report.own_version(binary) + (f", {garage.version()}" if "s3" in options.parts else "")
        head = (
            "## Cost by history\n\n"
            f"`make bench-history` wrote this on {datetime.now(UTC).date()}: `benches/history.py {' '.join(sys.argv[1:])}`.\n\n"
            f"* Machine: {machine}\n* Versions: {versions}\n\n{report.marks(found)}\n"
        )
        report.write_part(options.results, report.HISTORY, "\n".join([head, *(section.text for section in sections)]))
    if far_off := [mark.what for mark in found if mark.far_off]:
        raise Failed(f"missed by more than a tenth: {'; '.join(far_off)}")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        raise SystemExit(f"history: {failure}") from None
