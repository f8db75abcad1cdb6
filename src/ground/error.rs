//! What can be wrong with how the library is used. What becomes of a write is never an error but an
//! outcome with a [`Reason`](crate::write::Reason).

/// A wrong use of the library, or a machine that cannot run it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A replica's address cannot be used.
    #[error("replica URL {url:?} cannot be used: {problem}")]
    InvalidUrl {
        /// The address, with any password in it left out.
        url: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// A setting has a value that cannot work.
    #[error("{option}={value} cannot be used: {problem}")]
    InvalidOption {
        /// The setting's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// No replica has this name.
    #[error("there is no replica {name:?}; the replicas are {known}")]
    UnknownReplica {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The journal cannot be used.
    #[error("the journal {path} cannot be used: {problem}")]
    Journal {
        /// Where it is.
        path: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The operating system refused what the delivery needs (a thread, the HTTP client).
    #[error("the delivery could not be started: {0}")]
    Start(String),
}
