"""Totals of tables, as DuckDB reads them: `totals.py TABLE...` prints a JSON object, table -> total -> value."""

import json
import sys

import duckdb

# Totals that differ as soon as a row, a nested value or a microsecond does.
TOTALS = {
    "rows": "count(*)",
    "devices": "count(DISTINCT device_id)",
    "bytes of device names": "sum(strlen(device_name))::BIGINT",
    "last seen, sum in µs": "sum(epoch_us(last_seen_time)::HUGEINT)::VARCHAR",
    "antivirus engine updates, sum in µs": "sum(epoch_us(av_engine_update_time)::HUGEINT)::VARCHAR",
    "quick scans, sum in µs": "sum(epoch_us(av_quick_scan_time)::HUGEINT)::VARCHAR",
    "quick scans with an error": "count(av_quick_scan_error_code)",
    "full scans": "count(av_full_scan_time)",
    "custom scans": "count(av_custom_scan_status)",
    "signatures up to date": "count(*) FILTER (av_is_signature_up_to_date)",
    "LTSC known": "count(is_windows_ltsc_version_running)",
    "strong crypto of .NET 3.5, sum": "sum(sch_use_strong_crypto_35)::BIGINT",
    "TLS 1.2 as server": "count(tls_server_12)",
    # ClickHouse has no map that is null, so neither such maps nor empty ones are counted, but what is in them.
    "attack surface reduction rules": "sum(cardinality(asr_configuration_states))::BIGINT",
    "attack surface reduction rules that are set": """
        sum(len(list_filter(map_values(asr_configuration_states), LAMBDA state: state IS NOT NULL)))::BIGINT""",
}


def of(table: str) -> dict[str, object]:
    """The totals of a table, and the rows of each of its groups."""
    files = f"read_parquet('{table}/generated_date=*/*/*.parquet', hive_partitioning = true)"
    [values] = duckdb.sql(f"SELECT {', '.join(TOTALS.values())} FROM {files}").fetchall()
    groups = duckdb.sql(
        f"SELECT generated_date::VARCHAR, rbac_group_id::BIGINT, count(*) FROM {files} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return dict(zip(TOTALS, values, strict=True)) | {"rows of each date and group": groups}


def main() -> None:
    print(json.dumps({table: of(table) for table in sys.argv[1:]}))


if __name__ == "__main__":
    main()
