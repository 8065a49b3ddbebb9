"""Which files the manifests of a lake on disk list."""

import json


def listed_files(root: str, table: str) -> list[str]:
    """The files of all current snapshots."""
    latest = read(f"{root}/_lake/{table}/latest.json")
    snapshots = latest["snapshots"]
    if "older" in latest:
        snapshots += read(f"{root}/{latest['older']['document']}")["snapshots"]
    manifests = [read(f"{root}/{current['manifest']}") for current in snapshots]
    return [f"{root}/{file['path']}" for manifest in manifests for file in manifest["files"]]


def read(path: str) -> dict:
    with open(path) as document:
        return json.load(document)
