//! The protocol: the texts a replica is sent, what its answers mean, and HTTP.

mod client;
mod reply;
mod verdict;
mod watermark;

pub use client::{Client, Endpoint};
pub use reply::{Answer, Row, applied_changes};
pub use verdict::{TransportError, Verdict, judge};
pub use watermark::{
    Batch, BatchBuilder, Standing, drop_large, forget, handshake, inspect, retire, stage_large,
};
