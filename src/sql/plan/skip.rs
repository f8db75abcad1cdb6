//! Why a statement is not replicated.

/// Why a statement is not replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// It reads.
    Read,
    /// Its table is in no replica's allow-list.
    Filtered,
    /// It changes the schema, and `ddl` is off.
    Ddl,
    /// It controls a transaction.
    Txn,
    /// PRAGMA, ATTACH, VACUUM and the like: they concern one database file.
    Other,
    /// It cannot be read as SQL well enough to know what it does.
    Unparsed,
    /// It concerns the temporary schema, which a replica does not have.
    Temp,
    /// It concerns an attached database, which a replica does not have.
    Attached,
    /// It names a table of afterquery's own.
    Reserved,
    /// Reading it failed inside afterquery.
    Internal,
    /// The text itself rolls it back.
    RolledBack,
    /// It ran in a transaction that was not committed.
    Dropped,
}

impl Skip {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Filtered,
        Self::Ddl,
        Self::Txn,
        Self::Other,
        Self::Unparsed,
        Self::Temp,
        Self::Attached,
        Self::Reserved,
        Self::Internal,
        Self::RolledBack,
        Self::Dropped,
    ];

    /// Its name in `stats()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Filtered => "filtered",
            Self::Ddl => "ddl",
            Self::Txn => "txn",
            Self::Other => "other",
            Self::Unparsed => "unparsed",
            Self::Temp => "temp",
            Self::Attached => "attached",
            Self::Reserved => "reserved",
            Self::Internal => "internal",
            Self::RolledBack => "rolled_back",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the log tells of it, once for each text: the user may not know that it is left out.
    pub fn is_told(self) -> bool {
        match self {
            Self::Unparsed | Self::Temp | Self::Attached | Self::Reserved | Self::Internal => true,
            Self::Read | Self::Filtered | Self::Ddl | Self::Txn | Self::Other => false,
            Self::RolledBack | Self::Dropped => false,
        }
    }

    /// What it means, for `explain()`.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Read => "it reads",
            Self::Filtered => "its table is in no allow-list",
            Self::Ddl => "it changes the schema and ddl=False",
            Self::Txn => "it controls a transaction; replicas get committed writes only",
            Self::Other => "it concerns this one database, not its contents",
            Self::Unparsed => "it cannot be read as SQL",
            Self::Temp => "it concerns the temporary schema, which a replica does not have",
            Self::Attached => "it concerns an attached database, which a replica does not have",
            Self::Reserved => {
                "it names something that begins with afterquery_ or tmp_afterquery_; such names are afterquery's own"
            }
            Self::Internal => "reading it failed inside afterquery, which is a bug",
            Self::RolledBack => "a later statement of the same text rolls it back",
            Self::Dropped => "its transaction was not committed",
        }
    }
}
