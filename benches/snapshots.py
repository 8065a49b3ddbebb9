"""The generated snapshots that are measured on: folders of blobs, laid out as the service lays them out."""

import gzip
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from measure import Failed

GROUP_OF_PATH = re.compile(r"_RbacGroupId=\d+")
GROUP_OF_RECORD = re.compile(rb'"RbacGroupId":\d+')
# Within the JSON text of DeviceGatheredInfo, which every record has.
KEY_IN_EVERY_RECORD = rb'\"EBPFStatus\"'
BOOL_IN_EVERY_RECORD = re.compile(rb'(\\"AvIsPlatformUptodate\\":)(?:true|false|null)')


def generate(binary: Path, folder: Path, devices: int, blobs: int, groups: int | None = None, day: int = 0) -> Path:
    """Writes a day's snapshot by `defender-lake simulate`, and gives its folder back."""
    command = [binary, "simulate", "--write", folder, "--devices", str(devices), "--blobs", str(blobs), "--quiet"]
    command += ["--day", str(day)]
    if groups is not None:
        command += ["--groups", str(groups)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def regroup(snapshot: Path, folder: Path, devices: int) -> Path:
    """Writes the devices of a snapshot anew, in groups of that many, a blob each: `simulate` has groups of very
    different sizes."""
    like = blobs(snapshot)[0].relative_to(snapshot)
    lines = records(snapshot)
    group = 0
    while chunk := list(islice(lines, devices)):
        group += 1
        blob = folder / GROUP_OF_PATH.sub(f"_RbacGroupId={group}", str(like))
        blob.parent.mkdir(parents=True)
        record = b'"RbacGroupId":%d' % group
        with gzip.open(blob, "wb", compresslevel=1) as file:
            file.writelines(GROUP_OF_RECORD.sub(record, line, count=1) for line in chunk)
    return folder


def with_unknown_key(line: bytes) -> bytes:
    return replaced(line, line.replace(KEY_IN_EVERY_RECORD, rb'\"AvExposure\":\"Medium\",' + KEY_IN_EVERY_RECORD, 1))


def with_misfit(line: bytes) -> bytes:
    return replaced(line, BOOL_IN_EVERY_RECORD.sub(lambda key: key[1] + rb'\"maybe\"', line, count=1))


def replaced(line: bytes, altered: bytes) -> bytes:
    if altered == line:
        raise Failed(f"a record is not as expected: {line[:200]!r}")
    return altered


def alter(snapshot: Path, folder: Path, change: Callable[[bytes], bytes]) -> Path:
    """Writes a snapshot anew with every record changed, and gives its folder back."""
    for blob in blobs(snapshot):
        copy = folder / blob.relative_to(snapshot)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(blob) as lines, gzip.open(copy, "wb", compresslevel=1) as file:
            file.writelines(map(change, lines))
    return folder


def records(snapshot: Path) -> Iterator[bytes]:
    for blob in blobs(snapshot):
        with gzip.open(blob) as file:
            yield from file


def blobs(snapshot: Path) -> list[Path]:
    return sorted(snapshot.rglob("*.json.gz"))


def compressed_bytes(snapshot: Path) -> int:
    return sum(blob.stat().st_size for blob in blobs(snapshot))


def json_bytes(snapshot: Path) -> int:
    """By the last word of each gzip file, which holds the size of up to 4 GiB."""
    return sum(struct.unpack("<I", tail(blob, 4))[0] for blob in blobs(snapshot))


def tail(path: Path, length: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(-length, 2)
        return file.read()
