"""Columns of a table, nested ones too, by every reader: `rows.py TABLE COLUMN...`.

Prints {reader: [[value, ...], ...]}, a row each in order of all but the last column, nulls first; structs are objects.
"""

import json
import sys

import deltalake
import duckdb
import polars as pl
import spark_session


def by_deltalake(table: str, columns: list) -> list:
    read = deltalake.DeltaTable(table).to_pyarrow_table(columns=columns)
    return [[row[column] for column in columns] for row in read.to_pylist()]


def by_polars(table: str, columns: list) -> list:
    return [list(row) for row in pl.read_delta(table).select(columns).rows()]


def by_duckdb(table: str, columns: list) -> list:
    files = f"read_parquet('{table}/generated_date=*/*/*.parquet', hive_partitioning = true)"
    return [list(row) for row in duckdb.sql(f"SELECT {', '.join(columns)} FROM {files}").fetchall()]


def by_pyspark(table: str, columns: list) -> list:
    rows = spark_session.start().read.parquet(table).select(*columns).collect()
    return [[row.asDict(recursive=True)[column] for column in columns] for row in rows]


READERS = {"deltalake": by_deltalake, "polars": by_polars, "duckdb": by_duckdb, "pyspark": by_pyspark}


def in_order(row: list) -> list:
    return [(value is not None, value) for value in row[:-1]]


def main() -> None:
    table, *columns = sys.argv[1:]
    print(json.dumps({name: sorted(read(table, columns), key=in_order) for name, read in READERS.items()}))


main()
