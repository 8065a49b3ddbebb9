"""Where defender-lake's CPU time goes, by stage and by function, as perf samples it.

    python3 benches/cpu_profile.py target/release/defender-lake [--runs 10] [--results benches/PROFILE.md]

The program is the one that is shipped: it has its symbols, and its unwind tables tell who called. perf samples the CPU
clock, so that it also works on virtual machines, which have no hardware counters.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import bench
import measure
import program
import report
import snapshots
from measure import Failed

SAMPLES_PER_SECOND = 1999
CALLERS = "dwarf,4096"  # by unwind tables, over the innermost bytes of the stack
LEAST_SHARE = 0.01
MOST_SHARE_OUTSIDE = 0.03

# A sample belongs to the stage that the innermost of its functions names: `memcpy` counts for the stage that calls it.
REST = "rest"
STAGES = {
    "page faults": re.compile(r"^(asm_)?exc_page_fault$"),
    "system calls": re.compile(r"^(do_syscall_64|entry_SYSCALL_64)"),
    "inflate": re.compile(r"zlib_rs|flate2|transformer::inflate|isal_|igzip|decode_huffman|crc32_gzip"),
    "Parquet encoding": re.compile(r"\bparquet::|\barrow|\bwriter::(row_group|column_chunk|file_format)|^(ZSTD|HUF|FSE|HIST)_"),
    "decode": re.compile(r"\btransformer::|\bsimdutf8::|\bmemchr::"),
}
INSIDE = {"inflate", "decode", "Parquet encoding", "system calls"}

FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<function>.+) \([^()]*\)$")


def stage_of(stack: Sequence[str]) -> str:
    """Of functions from the innermost to the outermost."""
    return next((stage for function in stack for stage, names in STAGES.items() if names.search(function)), REST)


def stacks_of_run(binary: Path, source: program.Source, folder: Path) -> Iterator[list[str]]:
    """The stacks of one run's samples, each from the innermost function to the outermost."""
    recorded = folder / "perf.data"
    recording = ["perf", "record", "--quiet", "--no-buildid-cache", "-o", recorded]
    sampling = ["-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "--call-graph", CALLERS]
    program.run(binary, source, folder / "run", under=[*recording, *sampling, "--"])
    printing = ["perf", "script", "-i", recorded, "--no-inline", "-F", "ip,sym,dso"]
    printed = subprocess.run(printing, check=True, capture_output=True, text=True).stdout
    for sample in printed.split("\n\n"):
        frames = (FRAME.match(line) for line in sample.splitlines())
        if stack := [frame["function"] for frame in frames if frame]:
            yield stack
    shutil.rmtree(folder / "run")


def profile(binary: Path, runs: int) -> Counter[tuple[str, str]]:
    """(function, stage) -> samples."""
    samples: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="defender-lake-profile-") as folder:
        snapshot = snapshots.generate(binary, Path(folder, "snapshot"), bench.DEVICES, bench.BLOBS)
        for _ in range(runs):
            for stack in stacks_of_run(binary, program.files(snapshot), Path(folder)):
                samples[stack[0], stage_of(stack)] += 1
    unknown = sum(count for (function, _), count in samples.items() if function == "[unknown]")
    if unknown > MOST_SHARE_OUTSIDE * samples.total():
        raise Failed(f"{unknown} of {samples.total()} samples have no name: is {binary} stripped of its symbols?")
    return samples


def tables(samples: Counter[tuple[str, str]], runs: int) -> str:
    total = samples.total()
    by_stage, by_function = Counter(), Counter()
    stages_of: dict[str, Counter[str]] = {}
    for (function, stage), count in samples.items():
        by_stage[stage] += count
        by_function[function] += count
        stages_of.setdefault(function, Counter())[stage] += count
    outside = Counter({key: count for key, count in samples.items() if key[1] not in INSIDE})
    (worst, _), worst_count = outside.most_common(1)[0]
    verdict = "pass" if worst_count / total <= MOST_SHARE_OUTSIDE else "**miss**"

    seconds = total / SAMPLES_PER_SECOND / runs
    stage_rows = [
        (stage, f"{count / total:.1%}", f"{count / total * seconds:.3f}") for stage, count in by_stage.most_common()
    ]
    function_rows = [
        (f"`{function}`", f"{count / total:.1%}", ", ".join(stage for stage, _ in stages_of[function].most_common(2)))
        for function, count in by_function.most_common()
        if count / total >= LEAST_SHARE
    ]
    return (
        f"{bench.DEVICES:,} devices in {bench.BLOBS} blobs, from files: {total:,} samples of {runs} runs, "
        f"{seconds:.2f} s of CPU a run.\n\n"
        f"{report.table(('stage', 'share', 'CPU, s'), stage_rows)}\n\n"
        "No function outside inflate, decode, Parquet encoding and system calls above "
        f"{MOST_SHARE_OUTSIDE:.0%}: {verdict} (`{worst}`, {worst_count / total:.1%}).\n\n"
        f"Functions of {LEAST_SHARE:.0%} and more, without what they call, and the stages that they work for:\n\n"
        f"{report.table(('function', 'share', 'stages'), function_rows)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--results", type=Path, help="write the tables to this file")
    options = parser.parse_args()
    if shutil.which("perf") is None:
        raise Failed("perf is missing: install it (Debian: apt-get install linux-perf)")
    measure.keep_to_cores()
    binary = options.binary.resolve()
    machine = report.machine()
    text = tables(profile(binary, options.runs), options.runs)
    print(text)
    if options.results:
        today = datetime.now(UTC).date()
        head = f"# Where the CPU time goes\n\n`make profile` wrote this on {today}.\n\n* Machine: {machine}\n"
        options.results.write_text(f"{head}\n{text}")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        raise SystemExit(f"profile: {failure}") from None
