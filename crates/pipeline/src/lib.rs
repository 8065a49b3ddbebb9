//! plan -> work -> gate -> commit: the pipeline file, the run and its report, progress events.
