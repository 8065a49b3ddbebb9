"""Reads tables as one of the peers does. `read_back.py PEER TABLE...` prints a JSON object, table -> [rows, rules,
seconds]: all rows, all attack surface reduction rules, and the sum of `last_seen_time` in whole seconds."""

import json
import sys
from collections.abc import Iterator

FILES = "generated_date=*/*/*.parquet"


def duckdb_reads(tables: list[str]) -> Iterator[tuple[int, int, int]]:
    import duckdb

    for table in tables:
        yield duckdb.sql(f"""
            SELECT count(*),
                   sum(cardinality(asr_configuration_states))::BIGINT,
                   sum(epoch_us(last_seen_time) // 1000000)::BIGINT
            FROM read_parquet('{table}/{FILES}', hive_partitioning = true)
        """).fetchall()[0]


def polars_reads(tables: list[str]) -> Iterator[tuple[int, int, int]]:
    import polars as pl

    for table in tables:
        rows = pl.scan_parquet(f"{table}/{FILES}", hive_partitioning=True)
        rules, seconds = pl.col("asr_configuration_states").map.len(), pl.col("last_seen_time").dt.epoch("s")
        yield rows.select(pl.len(), rules.sum().alias("rules"), seconds.sum()).collect().row(0)


def chdb_reads(tables: list[str]) -> Iterator[tuple[int, int, int]]:
    import chdb

    for table in tables:
        answer = chdb.query(f"""
            SELECT count(), sum(length(asr_configuration_states)), sum(toUnixTimestamp(last_seen_time))
            FROM file('{table}/{FILES}', Parquet)
        """)
        yield tuple(int(value) for value in str(answer).split(","))


def pyspark_reads(tables: list[str]) -> Iterator[tuple[int, int, int]]:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    for table in tables:
        row = spark.read.parquet(table).selectExpr(
            "count(*)",
            "sum(CASE WHEN asr_configuration_states IS NOT NULL THEN size(asr_configuration_states) END)",
            "sum(unix_timestamp(last_seen_time))",
        )
        yield tuple(row.first())
    spark.stop()


READERS = {"duckdb": duckdb_reads, "polars": polars_reads, "chdb": chdb_reads, "pyspark": pyspark_reads}


def main() -> None:
    peer, *tables = sys.argv[1:]
    print(json.dumps(dict(zip(tables, READERS[peer](tables), strict=True))))


if __name__ == "__main__":
    main()
