"""The job in Polars: `polars_job.py SNAPSHOT OUTPUT`."""

import os

os.environ["POLARS_MAX_THREADS"] = "2"  # Polars reads it when it is imported.

import polars as pl

import columns

TYPES = {
    "string": pl.String,
    "bool": pl.Boolean,
    "int64": pl.Int64,
    "timestamp": pl.Datetime("us", "UTC"),
    "json": pl.String,
    "map<string, string>": pl.Map(pl.String, pl.String),
}


def value(column: columns.Column) -> pl.Expr:
    first, *keys = (key for key in column.path if key != columns.INFO)
    expression = pl.col(first)
    for key in keys:
        expression = expression.struct.field(key)
    if column.is_in_string():  # json_decode converts no strings
        expression = expression == "true" if column.type == "bool" else expression.cast(pl.Int64)
    return expression.alias(column.name)


def main() -> None:
    blobs, date, output = columns.arguments()
    table = columns.of_table()
    strings = {column.path[1] for column in table if column.is_in_string()}
    record = {key: TYPES[of] for key, of in columns.of_record(table).items()}
    info = {key: pl.String if key in strings else TYPES[of] for key, of in columns.of_info(table).items()}
    scans = {
        kind: pl.Struct({key: TYPES[of] for key, of in keys.items()}) for kind, keys in columns.of_scans(table).items()
    }
    (
        pl.scan_ndjson(blobs, schema=record)
        .with_columns(pl.col(columns.INFO).str.json_decode(pl.Struct(info)))
        .unnest(columns.INFO)
        .with_columns(pl.col(columns.SCANS).str.json_decode(pl.Struct(scans)))
        .select(
            *(value(column) for column in table),
            pl.lit(date).alias("generated_date"),
            pl.col("RbacGroupId").alias("rbac_group_id"),
        )
        .sink_parquet(
            pl.PartitionBy(output, key=["generated_date", "rbac_group_id"], include_key=False),
            compression="zstd",
            compression_level=1,
            maintain_order=False,
            mkdir=True,
        )
    )


if __name__ == "__main__":
    main()
