//! SQL in: what a text does, where it goes, and what is sent. Each room stands on those before it:
//! - `text`: bytes, tokens, words, names, literals.
//! - `determinism`: what may mean something else on a replica.
//! - `meaning`: statements, kinds, tables, placeholders.
//! - `freezing`: what would differ, as a literal.
//! - `large`: values that are sent ahead of their statement.
//! - `rows`: rows of constants, and rows that stand for a statement.
//! - `plan`: which statement goes where, with holes for its parameters.

mod determinism;
mod freezing;
mod large;
mod meaning;
mod plan;
mod rows;
mod text;

pub use self::{
    determinism::verdict::{Nondeterminism, Reason},
    freezing::{
        differing::{Before, BoundTexts, Zone, differs, frozen},
        freeze::{FreezeContext, Frozen, freeze},
    },
    large::{
        ahead::{inlined, set_apart, set_apart_all},
        content::{LargeContent, LargeValue, VALUE_TABLE, new_id, push_reference, reference_at, references},
    },
    meaning::{
        classification::{Classification, Kind, Placeholder, Statement},
        classify::classify,
    },
    plan::{
        cache::{MAX_CACHED_TEXT_BYTES, PlanCache},
        plan::{Plan, PlannedStatement},
        replicas::{MAX_REPLICAS, ReplicaSet, replicas_in, replicas_with},
        rules::Rules,
        skip::Skip,
        template::{Hole, Parameters, Rendered, Template},
    },
    rows::{
        json_rows::JsonRows,
        many_rows::ManyRows,
        one_row::row_start,
        statement::{RowError, RowStatement, rows_statement},
    },
    text::{
        literal::{Value, literal_len, push_hex, push_literal},
        shown::{SHOWN_BYTES, hide_values, shown},
    },
};
