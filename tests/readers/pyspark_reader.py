"""Reads a table on disk with PySpark, partitions discovered from its folders; see answer.py."""

import datetime
import re

import answer
import spark_session
from pyspark.sql import DataFrame, Row, functions

TYPES = {
    "array<string>": "list<string>",
    "bigint": "int64",
    "boolean": "bool",
    "date": "date",
    "double": "float64",
    "map<string,string>": "map<string, string>",
    "string": "string",
    "timestamp": "timestamp",
}
PARTITION_TYPES = {**TYPES, "int": "int64"}  # Spark infers the narrowest type from a folder's name.
PARTITIONS = ("generated_date", "rbac_group_id")


def read(root: str) -> DataFrame:
    return spark_session.start().read.parquet(root)


def type_of(name: str, type_name: str) -> str:
    if type_name.startswith("array<struct<"):
        return "list<struct>"
    return (PARTITION_TYPES if name in PARTITIONS else TYPES)[type_name]


def plain(value):
    if isinstance(value, list):
        return [item.asDict() if isinstance(item, Row) else item for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def read_values(root: str) -> dict:
    frame = read(root)
    spark_types = dict(frame.dtypes)
    fetched = [
        functions.unix_micros(name).alias(name) if type_name == "timestamp" else functions.col(name)
        for name, type_name in spark_types.items()
    ]
    rows = frame.orderBy(*answer.ORDER.split(", ")).select(*fetched).collect()
    return answer.values({
        name: answer.column(type_of(name, type_name), [plain(row[name]) for row in rows])
        for name, type_name in spark_types.items()
    })


def read_pruned(root: str, condition: str) -> dict:
    frame = read(root)
    kept = frame.where(condition)
    rows = kept.select("device_name").collect()
    plan = kept._jdf.queryExecution().executedPlan()
    (scan,) = re.findall(r"PartitionFilters: \[([^\]]*)\]", plan.toString())
    files = len(frame.inputFiles())
    return {"rows": len(rows), "files_read": files_read(kept), "files": files, "partition_filters": scan}


def files_read(frame: DataFrame) -> int:
    """Files that the scan opened, by its own metric."""
    execution = frame._jdf.queryExecution()
    execution.toRdd().count()
    leaves = execution.executedPlan().collectLeaves()
    return sum(leaves.apply(index).metrics().apply("numFiles").value() for index in range(leaves.size()))


answer.main({"values": read_values, "pruned": read_pruned})
