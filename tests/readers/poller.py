"""Reads a table over and over until its standard input ends, and prints one JSON object for each answer:

    poller.py ROOT READER...

    {"reader": ..., "began": seconds, "rows": {generated time in microseconds: rows}}
    {"reader": ..., "began": seconds, "error": ...}

A reader is `deltalake` or `polars`, over the log; or on disk only `chdb`, over the log too, and `glob` and `manifest`, which
are DuckDB over the documented glob and over the manifests that `latest.json` names. STORAGE_OPTIONS holds the store's
options as a JSON object.
"""

import collections
import contextlib
import json
import os
import select
import sys
import time

import chdb
import deltalake
import duckdb
import manifests
import polars as pl

TABLE = "info_gathering"
OPTIONS = json.loads(os.environ.get("STORAGE_OPTIONS", "null"))
MICROSECOND = "epoch_us(generated_time)"


def by_deltalake(root: str) -> dict:
    table = deltalake.DeltaTable(f"{root}/{TABLE}", storage_options=OPTIONS)
    times = table.to_pyarrow_table(columns=["generated_time"]).column("generated_time")
    return collections.Counter(times.cast("int64").to_pylist())


def by_polars(root: str) -> dict:
    table = pl.scan_delta(f"{root}/{TABLE}", storage_options=OPTIONS)
    return count(table.select(pl.col("generated_time").dt.epoch("us")).collect().iter_rows())


def by_chdb(root: str) -> dict:
    query = f"SELECT toUnixTimestamp64Micro(generated_time) AS time, count() FROM deltaLakeLocal('{root}/{TABLE}') GROUP BY time"
    # It reads tables below the current folder alone.
    with contextlib.chdir("/"):
        lines = chdb.query(query, "TSV").data().splitlines()
    return {int(time): int(rows) for time, rows in map(str.split, lines)}


def count(rows) -> dict:
    return collections.Counter(time for (time,) in rows)


def over(files: str) -> dict:
    return count(duckdb.connect().execute(f"SELECT {MICROSECOND} FROM read_parquet({files})").fetchall())


def by_glob(root: str) -> dict:
    return over(f"'{root}/{TABLE}/generated_date=*/*/*.parquet'")


def by_manifest(root: str) -> dict:
    return over(json.dumps(manifests.listed_files(root, TABLE)).replace('"', "'"))


READERS = {"deltalake": by_deltalake, "polars": by_polars, "chdb": by_chdb, "glob": by_glob, "manifest": by_manifest}


def main() -> None:
    root, *readers = sys.argv[1:]
    while not select.select([sys.stdin], [], [], 0)[0]:
        for reader in readers:
            answer = {"reader": reader, "began": time.time()}
            try:
                answer["rows"] = READERS[reader](root)
            except Exception as error:  # A file that went while it was read: no answer, and no wrong one.
                answer["error"] = f"{type(error).__name__}: {error}"
            print(json.dumps(answer), flush=True)


main()
