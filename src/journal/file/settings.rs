//! How the file is used.

use std::path::PathBuf;

/// When a write counts as handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// At once; a thread puts it into the file within milliseconds.
    #[default]
    Async,
    /// When it is in the file: it survives the process.
    Process,
    /// When the disk has it: it survives a power failure.
    Disk,
}

/// The journal on disk.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The directory; it is created. Processes may share it.
    pub path: PathBuf,
    /// When a write counts as handed over.
    pub durability: Durability,
    /// How many bytes may be pending in it.
    pub max_bytes: usize,
    /// The origin to go on with; a new one if none is named.
    pub origin: Option<String>,
}
