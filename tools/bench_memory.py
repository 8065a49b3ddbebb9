"""Peak memory of `defender-lake run` for 200,000 and 1,000,000 devices, from files and from the API, and their ratio.

    python3 tools/bench_memory.py target/release/defender-lake [SMALL LARGE]

Fails if the small run needs 300 MB or more, or the large one over 15% more than the small one.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

BLOBS = 16
MOST_BYTES = 300_000_000
MOST_RATIO = 1.15
SIGN_IN = {"AZURE_TENANT_ID": "", "AZURE_CLIENT_ID": "", "AZURE_CLIENT_SECRET": ""}


def pipeline(source: str) -> str:
    return f'dataset = "info_gathering"\n{source}\n[lake]\nroot = "lake"\n'


def write_snapshot(binary: Path, folder: Path, devices: int) -> None:
    command = [binary, "simulate", "--write", folder, "--devices", str(devices), "--blobs", str(BLOBS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def peak_of_run(binary: Path, source: str, environment: dict) -> int:
    """Peak resident bytes of one run of its own process, as the kernel counted them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pipeline.toml").write_text(pipeline(source))
        with open(Path(folder, "log"), "w+") as log:
            command = [binary, "run", "pipeline.toml"]
            run = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log)
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            if run.returncode != 0:
                raise SystemExit(f"run exited {run.returncode}: {log.read()}")
        return usage.ru_maxrss * 1024


def peak_from_files(binary: Path, blobs: Path) -> int:
    return peak_of_run(binary, f'[source]\nfiles = "{blobs}/**/*.json.gz"', {})


def peak_from_api(binary: Path, blobs: Path) -> int:
    """Against `simulate`, which prints its address and the variables that sign in to it."""
    server = subprocess.Popen([binary, "simulate", "--serve", blobs], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url, environment = None, {}
        for line in server.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                url = url or found.group()
            if found := re.search(r"\b(AZURE_\w+)=['\"]?([^\s'\"]+)", line):
                environment[found.group(1)] = found.group(2)
            if url and environment.keys() >= SIGN_IN.keys():
                break
        threading.Thread(target=server.stdout.read, daemon=True).start()
        source = (
            f'[source]\napi = "{url}"\nblob_hosts = ["127.0.0.1"]\nstate_dir = "state"\n[source.auth]\nkind = "client_secret"\nauthority = "{url}"\n'
            'tenant_id = "${AZURE_TENANT_ID}"\nclient_id = "${AZURE_CLIENT_ID}"\nclient_secret = "${AZURE_CLIENT_SECRET}"'
        )
        return peak_of_run(binary, source, environment)
    finally:
        server.kill()


def main() -> None:
    binary = Path(sys.argv[1]).resolve()
    small, large = (int(argument) for argument in (sys.argv[2:] or ["200000", "1000000"]))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for devices in (small, large):
            write_snapshot(binary, Path(folder, str(devices)), devices)
        for name, peak in (("files", peak_from_files), ("API", peak_from_api)):
            of_small, of_large = (peak(binary, Path(folder, str(devices))) for devices in (small, large))
            ratio = of_large / of_small
            good = good and of_small < MOST_BYTES and ratio <= MOST_RATIO
            print(
                f"from {name:<5}  {small:,} devices: {of_small / 1e6:.0f} MB   {large:,} devices: {of_large / 1e6:.0f} MB   "
                f"ratio {ratio:.2f}"
            )
    if not good:
        raise SystemExit(f"more than {MOST_BYTES / 1e6:.0f} MB, or a ratio above {MOST_RATIO}")


if __name__ == "__main__":
    main()
