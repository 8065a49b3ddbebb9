"""The job in ClickHouse, as chdb: `chdb_job.py SNAPSHOT OUTPUT`."""

import os

import chdb

import columns

TYPES = {
    "string": "Nullable(String)",
    "bool": "Nullable(Bool)",
    "int64": "Nullable(Int64)",
    "timestamp": "Nullable(DateTime64(6, 'UTC'))",
    "json": "Nullable(String)",
    "map<string, string>": "Map(String, Nullable(String))",  # ClickHouse has no map that is null: an empty one is.
}


def members(fields: dict[str, str]) -> str:
    return ", ".join(f"{key} {of}" for key, of in fields.items())


def value(column: columns.Column) -> str:
    path = column.path
    if path[:2] == (columns.INFO, columns.SCANS):
        path = ("scans", *path[2:])
    elif path[0] == columns.INFO:
        path = ("info", *path[1:])
    expression = ".".join(f"`{key}`" for key in path)
    if column.is_bool_in_string():  # JSONExtract converts strings to numbers, but not to truth values
        expression = f"{expression} = 'true'"
    return f"{expression} AS {column.name}"


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> None:
    blobs, date, output = columns.arguments()
    table = columns.of_table()
    record = members({key: TYPES[of] for key, of in columns.of_record(table).items()} | {"RbacGroupId": "Int64"})
    strings = {column.path[1]: "string" for column in table if column.is_bool_in_string()}
    info = f"Tuple({members({key: TYPES[of] for key, of in (columns.of_info(table) | strings).items()})})"
    kinds = {
        kind: f"Tuple({members({key: TYPES[of] for key, of in keys.items()})})"
        for kind, keys in columns.of_scans(table).items()
    }
    scans = f"Tuple({members(kinds)})"
    select = ", ".join(value(column) for column in table)
    structure = ", ".join(f"{column.name} {TYPES[column.type]}" for column in table) + ", rbac_group_id Int64"
    files = f"{os.path.commonpath(blobs)}/**/*.json.gz"
    parts = f"{output}/generated_date={date}/rbac_group_id={{_partition_id}}/part.parquet"
    chdb.query(f"""
        INSERT INTO FUNCTION file('{parts}', Parquet, {quoted(structure)}) PARTITION BY rbac_group_id
        SELECT {select}, RbacGroupId AS rbac_group_id
        FROM (
            SELECT *,
                   JSONExtract(assumeNotNull({columns.INFO}), {quoted(info)}) AS info,
                   JSONExtract(ifNull(info.{columns.SCANS}, ''), {quoted(scans)}) AS scans
            FROM file('{files}', JSONEachRow, {quoted(record)}, 'gzip')
        )
        SETTINGS max_threads = 2, max_parsing_threads = 2, output_format_compression_level = 1,
                 output_format_parquet_compression_method = 'zstd', output_format_parquet_write_bloom_filter = 0,
                 input_format_skip_unknown_fields = 1
    """)


if __name__ == "__main__":
    main()
