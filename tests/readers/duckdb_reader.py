"""Reads a table on disk with DuckDB over the documented glob; see answer.py."""

import json

import answer
import duckdb

TYPES = {
    "BIGINT": "int64",
    "BOOLEAN": "bool",
    "DATE": "date",
    "DOUBLE": "float64",
    "MAP(VARCHAR, VARCHAR)": "map<string, string>",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "VARCHAR": "string",
    "VARCHAR[]": "list<string>",
}


def type_of(type_name: str) -> str:
    return "list<struct>" if type_name.startswith("STRUCT(") and type_name.endswith(")[]") else TYPES[type_name]


def glob(root: str) -> str:
    return f"{root}/generated_date=*/*/*.parquet"


def table(root: str) -> str:
    quoted = glob(root).replace("'", "''")
    return f"read_parquet('{quoted}', hive_partitioning = true)"


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions = false")
    return connection


def plain(name: str, type_name: str) -> str:
    """The expression that fetches a column as JSON's own types."""
    if type_name == "timestamp":
        return f'epoch_us("{name}")'
    if type_name == "date":
        return f'"{name}"::VARCHAR'
    return f'"{name}"'


def read_values(root: str) -> dict:
    connection = connect()
    described = connection.execute(f"DESCRIBE SELECT * FROM {table(root)}").fetchall()
    types = {name: type_of(type_name) for name, type_name, *_ in described}
    fetched = ", ".join(plain(name, type_name) for name, type_name in types.items())
    query = f"SELECT {fetched} FROM {table(root)} ORDER BY {answer.ORDER}"
    rows = connection.execute(query).fetchall()
    columns = zip(*rows) if rows else [()] * len(types)
    return answer.values({
        name: answer.column(type_name, list(values)) for (name, type_name), values in zip(types.items(), columns)
    })


def read_pruned(root: str, condition: str) -> dict:
    connection = connect()
    # A sum over a column: counts alone would be answered from the files' footers.
    query = f"SELECT sum(length(device_id)), count(*) FROM {table(root)} WHERE {condition}"
    rows = connection.execute(query).fetchone()[1]
    ((_, plan),) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query}").fetchall()
    scans = [node for node in objects(json.loads(plan)) if "Total Files Read" in node]
    (files,) = connection.execute("SELECT count(*) FROM glob(?)", [glob(root)]).fetchone()
    return {"rows": rows, "files_read": sum(int(scan["Total Files Read"]) for scan in scans), "files": files}


def objects(document):
    """All objects of a JSON document, outermost first."""
    if isinstance(document, dict):
        yield document
    if isinstance(document, (dict, list)):
        for inner in document.values() if isinstance(document, dict) else document:
            yield from objects(inner)


answer.main({"values": read_values, "pruned": read_pruned})
