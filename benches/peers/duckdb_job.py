"""The job in DuckDB: `duckdb_job.py SNAPSHOT OUTPUT`."""

import json

import duckdb

import columns

TYPES = {
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "int64": "BIGINT",
    "timestamp": "TIMESTAMPTZ",
    "json": "VARCHAR",
    "map<string, string>": "MAP(VARCHAR, VARCHAR)",
}


def field(path: tuple[str, ...]) -> str:
    """Where the query below has what is at that wire path."""
    if path[:2] == (columns.INFO, columns.SCANS):
        path = ("scans", *path[2:])
    elif path[0] == columns.INFO:
        path = ("info", *path[1:])
    return ".".join(f'"{key}"' for key in path)


def main() -> None:
    blobs, date, output = columns.arguments()
    table = columns.of_table()
    record = {key: TYPES[of] for key, of in columns.of_record(table).items()}
    info = {key: TYPES[of] for key, of in columns.of_info(table).items()}
    scans = {kind: {key: TYPES[of] for key, of in keys.items()} for kind, keys in columns.of_scans(table).items()}
    select = ", ".join(f"{field(column.path)} AS {column.name}" for column in table)

    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    connection.sql("SET TimeZone = 'UTC'")
    connection.sql(f"""
        COPY (
            WITH records AS (
                SELECT *, json_transform({columns.INFO}, '{json.dumps(info)}') AS info
                FROM read_json({blobs}, format = 'newline_delimited', compression = 'gzip', columns = {record})
            ),
            scanned AS (
                SELECT *, json_transform(info.{columns.SCANS}, '{json.dumps(scans)}') AS scans FROM records
            )
            SELECT {select}, DATE '{date}' AS generated_date, RbacGroupId AS rbac_group_id FROM scanned
        ) TO '{output}' (
            FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARTITION_BY (generated_date, rbac_group_id)
        )
    """)


if __name__ == "__main__":
    main()
