//! Bytes in, record batches out: inflate, split into lines, decode against the columns, set bad records aside. No I/O, no async.
