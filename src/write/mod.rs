//! The unit of replication, from the call that makes it to its last outcome.

mod moment;
pub mod outcome;
mod reason;
pub mod render;
mod write;

pub use self::{
    moment::Moment,
    reason::{Reason, ReasonCode},
    write::{Body, Draft, SentStatement, Unsendable, Write},
};
