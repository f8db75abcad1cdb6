//! The protocol: the texts a replica is sent, what its answers mean, and HTTP.

mod batch;
mod client;
mod endpoint;
mod fit;
mod judging;
mod limits;
mod progress;
mod reply;
mod sizes;
mod verdict;
mod watermark;

pub use batch::{Batch, BatchBuilder, Join};
pub use client::Client;
pub use endpoint::{Endpoint, Proxy};
pub use fit::{Apart, rest};
pub use judging::judge;
pub use limits::Limits;
pub use progress::Progress;
pub use reply::{Answer, Changed, Row};
pub use sizes::{MAX_SQL_BYTES, MAX_TEXT_BYTES};
pub use verdict::{TransportError, Verdict};
pub use watermark::{
    drop_all_large, drop_large, forget, handshake, inspect, retire, stage_large, stage_small,
};
