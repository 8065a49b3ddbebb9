"""What all readers answer with: values as JSON that compare alike, whoever read them.

A timestamp is its microseconds since 1970-01-01 UTC, a date its ISO form, a map an object; the other types are JSON's own.
A reader is run as `READER VERB TABLE [FILTER]`, prints one JSON object and fails loudly:

    values   {"rows": N, "columns": {name: {"type": ..., "values": [...]}}}   values in that ORDER
    pruned   {"rows": N, "files_read": M, "files": ALL}                       of the rows that FILTER (SQL) lets through
"""

import json
import sys
from typing import Callable


ORDER = "device_id, generated_date, rbac_group_id"


def column(type_name: str, values: list) -> dict:
    return {"type": type_name, "values": values}


def values(columns: dict) -> dict:
    (rows,) = {len(column["values"]) for column in columns.values()}
    return {"rows": rows, "columns": columns}


def main(verbs: dict[str, Callable[..., dict]]) -> None:
    verb, *arguments = sys.argv[1:]
    json.dump(verbs[verb](*arguments), sys.stdout, ensure_ascii=False)
