//! The unit of replication, from the call that makes it to its last outcome.

mod body;
pub mod call;
mod moment;
pub mod outcome;
mod reason;
pub mod render;
mod settlement;
mod standing;
pub mod waiting;
mod write;

pub use self::{
    body::{Body, SentStatement, Unsendable},
    moment::Moment,
    reason::{Reason, ReasonCode},
    settlement::{Settlement, Waiter},
    standing::Standing,
    write::{Draft, Write},
};
