"""How many rows readers of the Delta log find by a value: `equal.py ROOT COLUMN VALUE`, the value as JSON.

Prints {reader: rows}, and under `all` the rows that have the value when all are read.
"""

import json
import sys

import deltalake
import polars as pl


def main() -> None:
    root, column, value = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    path = f"{root}/info_gathering"
    table = deltalake.DeltaTable(path)
    values = table.to_pyarrow_table(columns=[column]).column(column).to_pylist()
    by_polars = pl.scan_delta(path).filter(pl.col(column) == value).select(pl.len())
    found = {
        "all": values.count(value),
        "deltalake": table.to_pyarrow_table(filters=[(column, "=", value)]).num_rows,
        "Polars": by_polars.collect().item(),
    }
    print(json.dumps(found))


main()
