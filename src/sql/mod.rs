//! SQL in: what a text does, which table it writes, and where its parameters are.

mod ahead;
mod body;
mod bytes;
mod cache;
mod classify;
mod clock_call;
mod clock_names;
mod column_names;
mod determinism;
mod freeze;
mod functions;
mod instant;
mod json_rows;
mod literal;
mod many_rows;
mod names;
mod note;
mod occurrence;
mod one_row;
mod placeholders;
mod plan;
mod reserved;
mod rows;
mod scan;
mod statement;
mod template;
mod text;
mod token;
mod values;
mod words;

pub use ahead::{inlined, set_apart, set_apart_all};
pub use cache::{MAX_CACHED_TEXT_BYTES, PlanCache};
pub use classify::{Classification, Kind, Placeholder, Statement, classify};
pub use determinism::{Nondeterminism, Reason};
pub use freeze::{FreezeContext, Frozen, freeze};
pub use json_rows::JsonRows;
pub use literal::{Value, literal_len, push_hex, push_literal};
pub use many_rows::ManyRows;
pub use one_row::row_start;
pub use plan::{MAX_REPLICAS, Plan, PlannedStatement, ReplicaSet, Rules, Skip};
pub use rows::{RowError, RowStatement, rows_statement};
pub use template::{
    Hole, LargeContent, LargeValue, Parameters, Rendered, Template, VALUE_TABLE, new_id, push_reference,
    reference_at, references,
};
pub use values::{SHOWN_BYTES, hide_values, shown};
