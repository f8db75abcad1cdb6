//! SQL in: what a text does, which table it writes, and where its parameters are.

mod cache;
mod classify;
mod literal;
mod names;
mod placeholders;
mod plan;
mod scan;
mod statement;
mod template;
mod token;
mod words;

pub use cache::PlanCache;
pub use classify::{Classification, Kind, Placeholder, Statement, classify};
pub use literal::{Value, literal_len, push_literal};
pub use plan::{MAX_REPLICAS, Plan, PlannedStatement, ReplicaSet, Rules, Skip};
pub use template::{Hole, LargeContent, LargeValue, Parameters, Rendered, Template, VALUE_TABLE};
