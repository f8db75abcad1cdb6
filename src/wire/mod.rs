//! The protocol: the texts a replica is sent, what its answers mean, and HTTP.

mod batch;
mod client;
mod fit;
mod reply;
mod sizes;
mod verdict;
mod watermark;

pub use batch::{Batch, BatchBuilder, Join};
pub use client::{Client, Endpoint, Proxy};
pub use fit::{Apart, Limits, Progress, rest};
pub use reply::{Answer, Changed, Row};
pub use sizes::{MAX_SQL_BYTES, MAX_TEXT_BYTES};
pub use verdict::{TransportError, Verdict, judge};
pub use watermark::{
    drop_all_large, drop_large, forget, handshake, inspect, retire, stage_large, stage_small,
};
