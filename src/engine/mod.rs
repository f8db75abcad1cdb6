//! The whole: takes writes in, runs a task for each replica, and ends everything within a deadline.

mod closing;
mod deciding;
mod engine;
mod flushing;
mod planning;
mod replay;
mod resuming;
mod saving;
mod submitting;

pub use self::{
    deciding::{Given, Row},
    engine::Engine,
    flushing::LOOK_AGAIN,
};
