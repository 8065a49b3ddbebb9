"""Asks DuckDB the demo's question of the lake that `defender-lake demo` wrote: devices by group and antivirus mode."""

import sys

import duckdb

QUERY = """
WITH devices AS (
    FROM read_parquet('{root}/info_gathering/generated_date=*/*/*.parquet', hive_partitioning = true)
)
SELECT rbac_group_name AS device_group,
       CASE av_mode
           WHEN '0' THEN 'active' WHEN '1' THEN 'passive' WHEN '2' THEN 'disabled'
           WHEN '3' THEN 'other' WHEN '4' THEN 'EDR blocked' WHEN '5' THEN 'passive audit'
           ELSE 'unknown'
       END AS antivirus_mode,
       count(*) AS devices
FROM devices
WHERE generated_date = (SELECT max(generated_date) FROM devices)
GROUP BY ALL
ORDER BY device_group, devices DESC
"""


def main() -> None:
    root = sys.argv[1]
    query = QUERY.format(root=root.replace("'", "''")).strip()
    print(f"\nDuckDB {duckdb.__version__}:\n\n{query}\n")
    duckdb.sql(query).show(max_rows=60)


if __name__ == "__main__":
    main()
