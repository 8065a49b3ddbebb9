"""Reads a table with Polars over the documented glob, on disk or in a store; see answer.py.

The environment variable STORAGE_OPTIONS holds the store's options as a JSON object.
"""

import json
import os

import answer
import polars as pl

TYPES = {
    pl.Boolean: "bool",
    pl.Date: "date",
    pl.Datetime("us", "UTC"): "timestamp",
    pl.Float64: "float64",
    pl.Int64: "int64",
    pl.List(pl.String): "list<string>",
    pl.String: "string",
    pl.Map(pl.String, pl.String): "map<string, string>",
}


def type_of(dtype: pl.DataType) -> str:
    return "list<struct>" if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) else TYPES[dtype]


def scan(root: str) -> pl.LazyFrame:
    options = json.loads(os.environ.get("STORAGE_OPTIONS", "null"))
    return pl.scan_parquet(
        f"{root}/generated_date=*/*/*.parquet", hive_partitioning=True, try_parse_hive_dates=True, storage_options=options
    )


def plain(values: pl.Series) -> list:
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.epoch("us").to_list()
    if values.dtype == pl.Date:
        return values.dt.to_string("iso").to_list()
    return values.to_list()


def read_values(root: str) -> dict:
    frame = scan(root).sort(answer.ORDER.split(", ")).collect()
    return answer.values({values.name: answer.column(type_of(values.dtype), plain(values)) for values in frame})


answer.main({"values": read_values})
