//! Record batches in, a committed snapshot out: Parquet parts, object stores, the lake's layout, the commit.
