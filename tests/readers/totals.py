"""Reads lakes with every reader, whenever it is asked to, until its standard input ends. One JSON object a line:

    {"root": ..., "readers": [...], "storage_options": {...}}
    ->  {reader: {"rows": {generated time in microseconds: rows}, "columns": {column: [values, sum of their checksums]}}}
        or {"error": ...}

One process for all tests: Spark takes seconds to start. `deltalake`, `polars` and `chdb` read the Delta log; `duckdb-glob`
and `spark-folder` what lies in the table's folder; `duckdb-manifest` and `spark-manifest` the files that the current
manifests list. Only deltalake and Polars read stores here. A list or a map counts as a value where it is not empty: chDB
has no null ones.
"""

import contextlib
import json
import sys
import zlib

import chdb
import deltalake
import duckdb
import manifests
import polars as pl
import pyarrow as pa
import spark_session

TABLE = "info_gathering"


def by_deltalake(root: str, options: dict) -> pa.Table:
    return deltalake.DeltaTable(f"{root}/{TABLE}", storage_options=options).to_pyarrow_table()


def by_polars(root: str, options: dict) -> pa.Table:
    return pl.scan_delta(f"{root}/{TABLE}", storage_options=options).collect().to_arrow()


def by_chdb(root: str, _: dict) -> pa.Table:
    # It reads tables below the current folder alone.
    with contextlib.chdir("/"):
        return chdb.query(f"SELECT * FROM deltaLakeLocal('{root}/{TABLE}')", "ArrowTable")


def by_duckdb(files: str) -> pa.Table:
    query = f"SELECT * FROM read_parquet({files}, hive_partitioning = true, union_by_name = true)"
    return duckdb.connect().sql(query).to_arrow_table()


def by_duckdb_glob(root: str, _: dict) -> pa.Table:
    return by_duckdb(f"'{root}/{TABLE}/generated_date=*/*/*.parquet'")


def by_duckdb_manifest(root: str, _: dict) -> pa.Table:
    return by_duckdb(json.dumps(manifests.listed_files(root, TABLE)).replace('"', "'"))


def by_spark_folder(root: str, _: dict) -> pa.Table:
    return spark_session.start().read.option("mergeSchema", True).parquet(f"{root}/{TABLE}").toArrow()


def by_spark_manifest(root: str, _: dict) -> pa.Table:
    read = spark_session.start().read.option("basePath", f"{root}/{TABLE}").option("mergeSchema", True)
    return read.parquet(*manifests.listed_files(root, TABLE)).toArrow()


READERS = {
    "deltalake": by_deltalake,
    "polars": by_polars,
    "chdb": by_chdb,
    "duckdb-glob": by_duckdb_glob,
    "duckdb-manifest": by_duckdb_manifest,
    "spark-folder": by_spark_folder,
    "spark-manifest": by_spark_manifest,
}


def totals(table: pa.Table) -> dict:
    rows: dict[int, int] = {}
    for time in table.column("generated_time").cast("int64").to_pylist():
        rows[time] = rows.get(time, 0) + 1
    return {"rows": rows, "columns": {name: total(table.column(name).to_pylist()) for name in table.column_names}}


def total(values: list) -> list[int]:
    filled = [value for value in values if value is not None and value != []]
    return [len(filled), sum(zlib.crc32(str(value).encode()) for value in filled)]


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        answers = {}
        for reader in asked["readers"]:
            try:
                answers[reader] = totals(READERS[reader](asked["root"], asked["storage_options"]))
            except Exception as error:
                answers[reader] = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answers), flush=True)


main()
