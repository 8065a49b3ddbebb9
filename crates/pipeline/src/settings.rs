//! The pipeline file: where from, which dataset, where to. Typed once, defaults here and nowhere else.
