//! What to say of a journal's file.

use std::path::Path;

use super::error::StoreError;
use crate::{
    ground::event::Level,
    journal::file::store::members::Gone,
    write::{Reason, ReasonCode},
};

/// What to say of a replica that is not among the settings and has not got everything.
pub fn tell_gone(path: &Path, gone: &Gone) -> (Level, String) {
    let (path, name, count) = (path.display(), &gone.name, gone.pending.writes);
    let holds =
        format!("the journal {path} holds {count} writes for {name:?}, which is not among the replicas");
    if gone.given_up {
        let why = "with what came after them they take more than max_journal_bytes, or there are more than 64 replicas";
        return (Level::Error, format!("{holds}; they are given up: {why}. It has to be synced anew"));
    }
    let advice = format!("a replica that moved is known by its name: Replica(url, name={name:?})");
    (Level::Warning, format!("{holds}; they stay there until it is ({advice})"))
}

/// What to say of rejected writes that cannot be read.
pub fn letters_left(path: &Path, error: &StoreError) -> String {
    format!("the rejected writes in the journal {} stay there: {error}", path.display())
}

pub fn renamed(holds: &str) -> String {
    format!("it holds the writes of {holds}: it was copied or renamed")
}

pub fn not_delivered(path: &Path, error: &StoreError) -> String {
    format!("the journal {} is left as it is, and nothing in it is delivered: {error}", path.display())
}

/// Why a replica gets nothing more when its journal cannot be read.
pub fn damage(path: &Path, error: &impl std::fmt::Display) -> Reason {
    Reason::new(
        ReasonCode::Journal,
        format!(
            "the journal {} is damaged: {error}; the replica lacks writes that cannot be recovered from it: sync it \
             anew, then resume it",
            path.display()
        ),
    )
}

/// What is said of a journal that could not be opened for what passes by itself.
pub fn waits(path: &Path, error: &StoreError) -> String {
    format!("the journal {} cannot be opened now, and is tried again: {error}", path.display())
}
