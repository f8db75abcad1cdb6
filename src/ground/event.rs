//! What is told to the user's log.

/// How grave an [`Event`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something failed that is being tried again, or a replica may differ.
    Warning,
    /// Someone has to act.
    Error,
}

/// Something to tell the user's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How grave it is.
    pub level: Level,
    /// The text. Never holds a token.
    pub message: String,
}

/// Takes events; must not block.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;
