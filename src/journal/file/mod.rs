//! All that knows the disk: one file for each origin, owned by one process.

pub(super) mod body;
pub(super) mod disk;
pub(super) mod error;
pub(super) mod files;
pub(super) mod group;
pub(super) mod header;
pub(super) mod lock;
pub(super) mod private;
pub(super) mod ride;
pub(super) mod room;
pub(super) mod settings;
pub(super) mod store;
pub(super) mod sum;
pub(super) mod told;
pub(super) mod writer;
