"""The job that all peers do, read off the schema file: which wire path becomes which column, of which type."""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

SCHEMA = Path(__file__).parents[2] / "schemas/info_gathering.toml"

# Where the record holds JSON text, and where that text holds JSON text once more.
INFO = "DeviceGatheredInfo"
SCANS = "AvScanResults"

# The service sends these truth values in strings, and the others bare. All its whole numbers come in strings.
BOOLS_IN_STRINGS = {"IsWindowsLtscVersionRunning", "CVE_2022_30190_Mitigated"}


@dataclass(frozen=True)
class Column:
    """A column of the table: `path` are the JSON keys from the record down, `type` is a type of the schema file."""

    name: str
    path: tuple[str, ...]
    type: str

    def is_bool_in_string(self) -> bool:
        return self.path[-1] in BOOLS_IN_STRINGS

    def is_in_string(self) -> bool:
        """Whether it is a number or a truth value that comes in a string, which not every JSON decoder converts."""
        return self.type == "int64" or self.is_bool_in_string()


def of_table() -> list[Column]:
    """All columns but the partition's."""
    with open(SCHEMA, "rb") as file:
        schema = tomllib.load(file)
    return [Column(column["name"], tuple(column["wire"].split(".")), column["type"]) for column in schema["column"]]


def of_record(columns: list[Column]) -> dict[str, str]:
    """The record's own keys and their types; the device group's number and the JSON text beside them."""
    return {c.path[0]: c.type for c in columns if len(c.path) == 1} | {"RbacGroupId": "int64", INFO: "string"}


def of_info(columns: list[Column]) -> dict[str, str]:
    """The keys of the first JSON text, and their types; the second text is a string."""
    return {c.path[1]: c.type for c in columns if len(c.path) == 2 and c.path[0] == INFO} | {SCANS: "string"}


def of_scans(columns: list[Column]) -> dict[str, dict[str, str]]:
    """The keys of the second JSON text: scan kind -> key -> type."""
    scans: dict[str, dict[str, str]] = {}
    for c in columns:
        if c.path[:2] == (INFO, SCANS):
            scans.setdefault(c.path[2], {})[c.path[3]] = c.type
    return scans


def arguments() -> tuple[list[str], str, Path]:
    """Of `peer.py SNAPSHOT OUTPUT`: the blobs, the date that they were generated, and the folder to write to."""
    snapshot, output = Path(sys.argv[1]), Path(sys.argv[2])
    blobs = sorted(str(path) for path in snapshot.rglob("*.json.gz"))
    dates = {Path(blob).relative_to(snapshot).parts[0] for blob in blobs}
    if len(dates) != 1:
        raise SystemExit(f"{snapshot} holds blobs of {len(dates)} dates, not of one")
    return blobs, dates.pop(), output
