//! The ordered store of writes that are not settled everywhere.
//!
//! Reading never removes anything; acknowledging does, and doing it twice is harmless.
//!
//! - `memory`: the writes in memory, or with a file the newest of them.
//! - `file`: the file of one origin.
//! - `journal`, `source`: the two together, and whose they are.
//! - `directory`: finds the files that dead processes left.

mod adopted;
mod directory;
mod file;
mod journal;
mod memory;
mod source;

pub use self::{
    adopted::{Adopted, MAX_ADOPTED},
    directory::{
        Directory,
        opening::{Opened, open},
    },
    file::{
        disk::Disk,
        settings::{Durability, JournalConfig},
        told::{letters_left, tell_gone},
        writer::{Bell, LINGER, LINGER_LOOKS, Work, Writer},
    },
    journal::Journal,
    memory::{
        cursor::{Cursor, Issued, NOTHING_MORE, State, Stop, Stopped},
        letter::{DeadLetter, LetterKey},
        letters::{Letters, NotReplayed},
        limits::{Limits, Pending},
        queue::Appended,
    },
    source::Source,
};
