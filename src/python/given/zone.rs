//! The time zone that SQLite uses.

use pyo3::{intern, prelude::*};

/// Seconds from UTC to the local time of an instant, which is in seconds since 1970.
pub fn utc_offset_seconds(py: Python<'_>, unix_seconds: i64) -> Option<i32> {
    // Python's own, so that a program that sets the time zone gets the one SQLite uses: both ask the C library.
    let time = py.import(intern!(py, "time")).ok()?;
    let local = time.call_method1(intern!(py, "localtime"), (unix_seconds,)).ok()?;
    local.getattr(intern!(py, "tm_gmtoff")).ok()?.extract().ok()
}
