//! What a call was given. Here objects are read; what becomes of them is decided in the core.

pub(super) mod given;
pub(super) mod params;
pub(super) mod values;
pub(super) mod zone;
