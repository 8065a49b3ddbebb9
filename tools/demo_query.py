"""Asks DuckDB the demo's question of three tables of the lake that `defender-lake demo` wrote: which devices without an active antivirus
have critical vulnerabilities that are exploited, by group?"""

import sys

import duckdb

TABLES = ["info_gathering", "software_vulnerabilities", "secure_configurations"]

FILES = """
SET VARIABLE manifests = (
    SELECT list('{root}/' || manifest)
    FROM (SELECT unnest(snapshots, recursive := true) FROM read_json('{root}/_lake/{table}/latest.json'))
    WHERE generated_date = '2026-05-03');
SET VARIABLE files = (
    SELECT list('{root}/' || path)
    FROM (SELECT unnest(content ->> '$.files[*].path') AS path FROM read_text(getvariable('manifests'))));
"""

QUERY = """
WITH exploitable AS (
    SELECT device_id, count(DISTINCT cve_id) AS vulnerabilities
    FROM software_vulnerabilities
    WHERE vulnerability_severity_level = 'Critical' AND exploitability_level <> 'NoExploit'
    GROUP BY ALL
), misconfigured AS (
    SELECT device_id, count(*) AS configurations
    FROM secure_configurations
    WHERE is_applicable AND NOT is_compliant
    GROUP BY ALL
)
SELECT rbac_group_name AS device_group,
       count(*) AS devices,
       sum(vulnerabilities)::BIGINT AS exploitable_critical,
       sum(configurations)::BIGINT AS wrong_configurations
FROM info_gathering
JOIN exploitable USING (device_id)
LEFT JOIN misconfigured USING (device_id)
WHERE av_mode IS DISTINCT FROM '0'
GROUP BY ALL
ORDER BY devices DESC, device_group
"""


def main() -> None:
    root = sys.argv[1].replace("'", "''")
    for table in TABLES:
        duckdb.sql(FILES.format(root=root, table=table))
        [(files,)] = duckdb.sql("SELECT getvariable('files')").fetchall()
        duckdb.read_parquet(files, hive_partitioning=True, union_by_name=True).create_view(table)
    query = QUERY.strip()
    print(f"\nDuckDB {duckdb.__version__}, views over the files of {', '.join(TABLES)}:\n\n{query}\n")
    duckdb.sql(query).show(max_rows=60)


if __name__ == "__main__":
    main()
