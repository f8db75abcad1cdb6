//! How long it takes to classify a statement. Run with `make bench-classify`.

fn main() {}
