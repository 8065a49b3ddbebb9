"""The job in Spark, from Python: `pyspark_job.py SNAPSHOT OUTPUT`."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

import columns

TYPES = {
    "string": "STRING",
    "bool": "BOOLEAN",
    "int64": "BIGINT",
    "timestamp": "TIMESTAMP",
    "json": "STRING",
    "map<string, string>": "MAP<STRING, STRING>",
}


def members(fields: dict[str, str]) -> str:
    return ", ".join(f"`{key}` {of}" for key, of in fields.items())


def value(column: columns.Column):
    path = column.path
    if path[:2] == (columns.INFO, columns.SCANS):
        path = ("scans", *path[2:])
    elif path[0] == columns.INFO:
        path = ("info", *path[1:])
    expression = f.col(".".join(f"`{key}`" for key in path))
    if column.is_in_string():  # from_json converts no strings
        expression = expression.cast(TYPES[column.type])
    return expression.alias(column.name)


def main() -> None:
    blobs, date, output = columns.arguments()
    table = columns.of_table()
    strings = {column.path[1] for column in table if column.is_in_string()}
    record = members({key: TYPES[of] for key, of in columns.of_record(table).items()})
    info = members({key: "STRING" if key in strings else TYPES[of] for key, of in columns.of_info(table).items()})
    scans = ", ".join(
        f"`{kind}` STRUCT<{members({key: TYPES[of] for key, of in keys.items()})}>"
        for kind, keys in columns.of_scans(table).items()
    )

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    (
        spark.read.schema(record)
        .json(blobs)
        .withColumn("info", f.from_json(columns.INFO, info))
        .withColumn("scans", f.from_json(f"info.{columns.SCANS}", scans))
        .select(
            *(value(column) for column in table),
            f.lit(date).alias("generated_date"),
            f.col("RbacGroupId").alias("rbac_group_id"),
        )
        .write.option("parquet.compression.codec.zstd.level", 1)
        .partitionBy("generated_date", "rbac_group_id")
        .parquet(str(output))
    )
    java = spark.sparkContext._gateway.proc
    spark.stop()
    # Wait for the JVM, so that what it used is counted.
    spark.sparkContext._gateway.shutdown()
    java.stdin.close()
    java.wait()


if __name__ == "__main__":
    main()
