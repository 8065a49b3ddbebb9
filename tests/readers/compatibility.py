"""Reads Parquet files as users of one library do, and prints what it read of one column of each type:

    compatibility.py READER FILE...
    ->  {"version": ..., "rows": [[device_id, generated_time, av_quick_scan_time, av_is_signature_up_to_date,
                                   sch_use_strong_crypto_40], ...]}

Times are milliseconds since 1970, rows are in the order of device ids. Imports only the library that it is asked for, so that it
runs where others are not installed.
"""

import datetime
import json
import os
import sys

COLUMNS = (
    "device_id",
    "generated_time",
    "av_quick_scan_time",
    "av_is_signature_up_to_date",
    "sch_use_strong_crypto_40",
)
# How pandas shows what is missing: each of them compares in a way of its own.
MISSING = ("<NA>", "NaT", "nan")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def by_pyarrow(files: list[str]) -> tuple[str, list]:
    import pyarrow
    import pyarrow.parquet

    tables = [pyarrow.parquet.ParquetFile(file).read(columns=list(COLUMNS)) for file in files]
    return pyarrow.__version__, [tuple(row.values()) for table in tables for row in table.to_pylist()]


def by_duckdb(files: list[str]) -> tuple[str, list]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f"{name}::TIMESTAMP" if name.endswith("_time") else name for name in COLUMNS)
    return duckdb.__version__, connection.execute(f"SELECT {columns} FROM read_parquet({files})").fetchall()


def by_polars(files: list[str]) -> tuple[str, list]:
    import polars

    return polars.__version__, polars.read_parquet(files, columns=list(COLUMNS), hive_partitioning=False).rows()


def by_chdb(files: list[str]) -> tuple[str, list]:
    import chdb

    columns = ", ".join(COLUMNS)
    queries = [f"SELECT {columns} FROM file('{file}', Parquet)" for file in files]
    table = chdb.query(" UNION ALL ".join(queries), "ArrowTable")
    return chdb.__version__, [tuple(row.values()) for row in table.to_pylist()]


def by_fastparquet(files: list[str]) -> tuple[str, list]:
    import fastparquet

    rows = []
    for file in files:
        frame = fastparquet.ParquetFile(file).to_pandas(columns=list(COLUMNS))
        rows += frame[list(COLUMNS)].itertuples(index=False, name=None)
    return fastparquet.__version__, rows


def by_spark(files: list[str]) -> tuple[str, list]:
    import pyspark
    import spark_session

    frame = spark_session.start().read.parquet(*files)
    columns = [f"unix_millis({name})" if name.endswith("_time") else name for name in COLUMNS]
    return pyspark.__version__, [tuple(row) for row in frame.selectExpr(*columns).collect()]


def by_deltalake(files: list[str]) -> tuple[str, list]:
    import deltalake

    table = deltalake.DeltaTable(table_of(files))
    rows = table.to_pyarrow_table(columns=list(COLUMNS)).to_pylist()
    return deltalake.__version__, [tuple(row.values()) for row in rows]


def by_sail(files: list[str]) -> tuple[str, list]:
    import pysail
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    server = SparkConnectServer(port=0)
    server.start(background=True)
    session = SparkSession.builder.remote("sc://127.0.0.1:%d" % server.listening_address[1]).getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    rows = session.read.format("delta").load(table_of(files)).select(*COLUMNS).toArrow().to_pylist()
    server.stop()
    return pysail.__version__, [tuple(row.values()) for row in rows]


def table_of(files: list[str]) -> str:
    return files[0].split("/generated_date=")[0]


READERS = {
    "chDB": by_chdb,
    "deltalake": by_deltalake,
    "DuckDB": by_duckdb,
    "fastparquet": by_fastparquet,
    "Polars": by_polars,
    "pyarrow": by_pyarrow,
    "PySpark": by_spark,
    "Sail": by_sail,
}


def plain(value):
    """None for what libraries have in its place; a time as milliseconds, a number without its library's type."""
    if value is None or repr(value) in MISSING:
        return None
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return (aware - EPOCH) // datetime.timedelta(milliseconds=1)
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, bytes):
        return value.decode()
    return int(value) if isinstance(value, float) else value


def main() -> None:
    reader, *files = sys.argv[1:]
    version, rows = READERS[reader](files)
    plain_rows = [[plain(value) for value in row] for row in rows]
    print(json.dumps({"version": version, "rows": sorted(plain_rows, key=lambda row: row[0])}), flush=True)
    # Threads of deltalake abort an orderly exit now and then.
    os._exit(0)


main()
