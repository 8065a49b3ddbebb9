"""Which devices every reader finds by a time: `filtered.py ROOT COLUMN TIME`.

Prints {reader: [device ids from TIME on, device ids before it]}. `deltalake`, `polars` and `chdb` skip files by the statistics
of the Delta log, `duckdb` by those of the Parquet files.
"""

import json
import os
import sys
from datetime import datetime

import chdb
import deltalake
import duckdb
import polars as pl
import pyarrow.compute as pc

OPERATORS = [">=", "<"]


def by_deltalake(table: str, column: str, time: datetime) -> list:
    dataset = deltalake.DeltaTable(table).to_pyarrow_dataset()
    conditions = [pc.field(column) >= time, pc.field(column) < time]
    return [dataset.to_table(filter=condition).column("device_id").to_pylist() for condition in conditions]


def by_polars(table: str, column: str, time: datetime) -> list:
    devices = pl.scan_delta(table)
    conditions = [pl.col(column) >= time, pl.col(column) < time]
    return [devices.filter(condition).collect()["device_id"].to_list() for condition in conditions]


def by_chdb(table: str, column: str, time: datetime) -> list:
    os.chdir("/")  # It reads tables below the current folder alone.
    query = "SELECT device_id FROM deltaLakeLocal('{}') WHERE {} {} toDateTime64('{}', 6, 'UTC')"
    answers = [chdb.query(query.format(table, column, operator, time.strftime("%F %T")), "ArrowTable") for operator in OPERATORS]
    return [answer.column("device_id").to_pylist() for answer in answers]


def by_duckdb(table: str, column: str, time: datetime) -> list:
    files = f"read_parquet('{table}/generated_date=*/*/*.parquet', hive_partitioning = true)"
    query = "SELECT device_id FROM {} WHERE {} {} TIMESTAMPTZ '{}'"
    answers = [duckdb.sql(query.format(files, column, operator, time.isoformat())) for operator in OPERATORS]
    return [[device_id for (device_id,) in answer.fetchall()] for answer in answers]


READERS = {"deltalake": by_deltalake, "polars": by_polars, "chdb": by_chdb, "duckdb": by_duckdb}


def main() -> None:
    root, column, time = sys.argv[1:]
    table = f"{root}/info_gathering"
    found = {name: read(table, column, datetime.fromisoformat(time)) for name, read in READERS.items()}
    print(json.dumps({name: [sorted(devices) for devices in answers] for name, answers in found.items()}))


main()
