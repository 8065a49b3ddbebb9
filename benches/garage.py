"""Garage, an S3 server, on loopback: as `tools/install.sh garage` installs it, and as the end-to-end tests start it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import Failed

PROGRAM = Path(__file__).resolve().parent.parent / ".tools/garage/bin/garage"
BUCKET = "defender"
REGION = "garage"
KEY_ID = "GK0123456789abcdef01234567"
SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
READY_WITHIN = 90


@dataclass(frozen=True)
class Garage:
    port: int

    @staticmethod
    def lake(root: str, port: int) -> str:
        """`[lake]` of a lake in it, by way of that port. It overwrites in spite of conditions, so there is one writer."""
        options = {
            "endpoint": f"http://127.0.0.1:{port}",
            "region": REGION,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
            "allow_http": "true",
        }
        lines = [f'root = "s3://{BUCKET}/{root}"', "single_writer = true", "[lake.options]"]
        return "\n".join([*lines, *(f'{name} = "{value}"' for name, value in options.items())]) + "\n"


@contextmanager
def start(folder: Path) -> Iterator[Garage]:
    """A server with one bucket that keeps its files in the folder, as long as the context lasts."""
    if not PROGRAM.exists():
        raise Failed(f"{PROGRAM} is missing: tools/install.sh garage")
    folder.mkdir(parents=True)
    port, rpc_port = free_ports(2)
    settings = folder / "garage.toml"
    settings.write_text(
        f'metadata_dir = "{folder}/meta"\ndata_dir = "{folder}/data"\ndb_engine = "lmdb"\nreplication_factor = 1\n'
        f'rpc_bind_addr = "127.0.0.1:{rpc_port}"\nrpc_public_addr = "127.0.0.1:{rpc_port}"\nrpc_secret = "{SECRET}"\n'
        f'[s3_api]\ns3_region = "{REGION}"\napi_bind_addr = "127.0.0.1:{port}"\nroot_domain = ".s3.garage.localhost"\n'
    )
    garage = [PROGRAM, "-c", settings]
    environment = {
        **os.environ,
        "GARAGE_DEFAULT_ACCESS_KEY": KEY_ID,
        "GARAGE_DEFAULT_SECRET_KEY": SECRET,
        "GARAGE_DEFAULT_BUCKET": BUCKET,
        "RUST_LOG": "warn",
    }
    with open(folder / "server.log", "wb") as log:
        command = [*garage, "server", "--single-node", "--default-bucket"]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not has_bucket(garage):
            if server.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"Garage did not start: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield Garage(port)
    finally:
        server.kill()
        server.wait()


def has_bucket(garage: list[str | Path]) -> bool:
    told = subprocess.run([*garage, "bucket", "info", BUCKET], capture_output=True, text=True)
    return told.returncode == 0 and KEY_ID in told.stdout


def free_ports(number: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def version() -> str:
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.split()
    return " ".join(told[:2])
