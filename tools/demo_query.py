"""Asks DuckDB the demo's question of the lake that `defender-lake demo` wrote: devices by group and antivirus mode."""

import sys

import duckdb

FILES = """
SET VARIABLE manifests = (
    SELECT list('{root}/' || manifest)
    FROM (SELECT unnest(snapshots, recursive := true) FROM read_json('{root}/_lake/info_gathering/latest.json'))
    WHERE generated_date = '2026-05-03');
SET VARIABLE files = (
    SELECT list('{root}/' || path)
    FROM (SELECT unnest(content ->> '$.files[*].path') AS path FROM read_text(getvariable('manifests'))));
"""

QUERY = """
SELECT rbac_group_name AS device_group,
       CASE av_mode
           WHEN '0' THEN 'active' WHEN '1' THEN 'passive' WHEN '2' THEN 'disabled'
           WHEN '3' THEN 'other' WHEN '4' THEN 'EDR blocked' WHEN '5' THEN 'passive audit'
           ELSE 'unknown'
       END AS antivirus_mode,
       count(*) AS devices
FROM read_parquet(getvariable('files'), hive_partitioning = true, union_by_name = true)
GROUP BY ALL
ORDER BY device_group, devices DESC
"""


def main() -> None:
    files = FILES.format(root=sys.argv[1].replace("'", "''")).strip()
    query = QUERY.strip()
    print(f"\nDuckDB {duckdb.__version__}:\n\n{files}\n{query}\n")
    duckdb.sql(files)
    duckdb.sql(query).show(max_rows=60)


if __name__ == "__main__":
    main()
