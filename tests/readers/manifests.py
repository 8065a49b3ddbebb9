"""Which files the manifests of a lake on disk list."""

import json


def listed_files(root: str, table: str) -> list[str]:
    """The files of all current snapshots."""
    with open(f"{root}/_lake/{table}/latest.json") as latest:
        paths = [current["manifest"] for current in json.load(latest)["snapshots"]]
    files = []
    for path in paths:
        with open(f"{root}/{path}") as manifest:
            files += [f"{root}/{file['path']}" for file in json.load(manifest)["files"]]
    return files
