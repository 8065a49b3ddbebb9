"""Runs of defender-lake itself, from files and from the simulator, each in a fresh folder."""

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import CORES, Cost, Failed, cost_of

PIPELINE = "pipeline.toml"
SIGN_IN = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"}


@dataclass(frozen=True)
class Source:
    """The `[source]` of a pipeline file, and the variables that it refers to."""

    toml: str
    # Further keys of `[lake]`.
    lake: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def files(snapshot: Path, lake: str = "") -> Source:
    return Source(f'[source]\nfiles = "{snapshot}/**/*.json.gz"\n', lake)


@contextmanager
def simulator(binary: Path, snapshot: Path) -> Iterator[Source]:
    """Serves the snapshot on loopback as long as the context lasts. `simulate` prints its address and credentials."""
    command = [binary, "simulate", "--serve", snapshot, "--no-rate-limit"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url, environment = None, {}
        for line in server.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                url = found.group()
            if found := re.search(r"\b(AZURE_\w+)=(\S+)", line):
                environment[found.group(1)] = found.group(2)
            if url and environment.keys() >= SIGN_IN:
                break
        else:
            raise Failed("the simulator did not start")
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield Source(
            f'[source]\napi = "{url}"\nblob_hosts = ["127.0.0.1"]\nstate_dir = "state"\n'
            f'[source.auth]\nkind = "client_secret"\nauthority = "{url}"\ntenant_id = "${{AZURE_TENANT_ID}}"\n'
            'client_id = "${AZURE_CLIENT_ID}"\nclient_secret = "${AZURE_CLIENT_SECRET}"\n',
            environment=environment,
        )
    finally:
        server.terminate()
        server.wait()


def run(binary: Path, source: Source, folder: Path, under: Sequence[str | Path] = ()) -> Cost:
    """One run into a new lake, `folder/lake`; `under` is a command that runs it, such as perf with its options."""
    write_pipeline(folder, source, f'root = "lake"\n{source.lake}')
    return cost_of([*under, *run_command(binary)], folder, source.environment)


def write_pipeline(folder: Path, source: Source, lake: str) -> None:
    """Makes the folder, and in it the pipeline file of a source and what stands below `[lake]`."""
    folder.mkdir(parents=True)
    Path(folder, PIPELINE).write_text(
        f'dataset = "info_gathering"\n{source.toml}[work]\nthreads = {CORES}\n[lake]\n{lake}'
    )


def run_command(binary: Path) -> list[str | Path]:
    return [binary, "run", PIPELINE, "--quiet"]


def table(folder: Path) -> Path:
    """Where such a run has put the Parquet files."""
    return folder / "lake/info_gathering"
