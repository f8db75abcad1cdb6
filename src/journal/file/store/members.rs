//! The replicas that a journal's file knows: each has a bit in it while it is in the settings, or has something pending.

use rusqlite::{OptionalExtension, params};

use super::{Store, cursors::state_of};
use crate::{
    journal::{
        file::{error::Result, sum::sum_of},
        memory::{
            cursor::{Cursor, NOTHING_MORE, State, Stop, Stopped},
            limits::Pending,
        },
    },
    sql::MAX_REPLICAS,
    write::{Reason, ReasonCode},
};

/// The bytes of a page.
const PAGE: usize = 4_096;

/// How many replicas that left the settings are remembered: beyond this the oldest comes back as one that is not known.
const MAX_GONE: i64 = 1_000;

/// A replica that is not among the settings any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// How it was called.
    pub name: String,
    /// What it has not got.
    pub pending: Pending,
    /// Whether that is given up now.
    pub given_up: bool,
}

/// What a file that was found holds.
#[derive(Debug)]
pub struct Found {
    /// The last write that was ever in it.
    pub last: u64,
    /// How far each replica is, in the order of the settings.
    pub cursors: Vec<Cursor>,
    /// What each still has to get.
    pub lag: Vec<Pending>,
    /// Replicas that are not among the settings any more and have not got everything.
    pub gone: Vec<Gone>,
    /// Whether there are rejected writes in it.
    pub has_letters: bool,
}

impl Store {
    /// Reads how far each replica of the settings is. In this process's own file each has a bit from now on, and one that
    /// has left the settings keeps its own unless the file holds more than `max_gone` bytes for its sake. In the file of
    /// another a replica that it does not know needs nothing.
    pub fn match_replicas(&mut self, names: &[String], is_own: bool, max_gone: usize) -> Result<Found> {
        let settle = |store: &Self| store.settle_gone(names, is_own, max_gone);
        let gone = if is_own { self.grow(settle)? } else { settle(self)? };
        self.match_bits(names)?;
        let cursors = (0..names.len()).map(|index| self.cursor(index)).collect::<Result<Vec<_>>>()?;
        let lag = self.bits.iter().map(|bit| bit.map_or(Ok(Pending::default()), |bit| self.lag_of_bit(bit)));
        let lag = lag.collect::<Result<_>>()?;
        // While the disk failed, positions may have got into the file that the writes did not.
        let known = cursors.iter().flat_map(|cursor| {
            let position = Some(cursor.position).filter(|&position| position < NOTHING_MORE);
            // What a replica says that was synced anew is no number of ours.
            let standing = cursor.state.standing.filter(|_| !cursor.state.synced);
            position.into_iter().chain(standing.map(|standing| standing.seq))
        });
        let last = known.fold(self.last()?, u64::max);
        Ok(Found { last, cursors, lag, gone, has_letters: self.has_letters()? })
    }

    /// Finds the bit of each replica of the settings.
    pub fn match_bits(&mut self, names: &[String]) -> Result<()> {
        let known = self.known_replicas()?;
        let bit = |name: &String| known.iter().find(|(_, known)| known == name).map(|&(bit, _)| bit);
        self.bits = names.iter().map(bit).collect();
        self.same = self.bits.iter().enumerate().all(|(index, &bit)| bit == Some(index as u8));
        Ok(())
    }

    /// What is pending for replicas that are not among the settings; in the own file, room is made for those that are.
    fn settle_gone(&self, names: &[String], is_own: bool, max_gone: usize) -> Result<Vec<Gone>> {
        let (known, gone): (Vec<_>, Vec<_>) =
            self.known_replicas()?.into_iter().partition(|(_, name)| names.contains(name));
        let mut told = Vec::new();
        let mut kept = Vec::new();
        for (bit, name) in gone {
            let pending = self.lag_of_bit(bit)?;
            let given_up = is_own && self.held_for_bit(bit)? > max_gone;
            if is_own && (given_up || pending.writes == 0) {
                self.dismiss(bit)?;
            } else {
                if is_own {
                    self.goes(bit)?;
                }
                kept.push((bit, told.len()));
            }
            told.push(Gone { name, pending, given_up });
        }
        if is_own {
            known.iter().try_for_each(|(bit, name)| self.comes_back(*bit, name))?;
            let mut taken: u64 = known.iter().map(|(bit, _)| 1 << bit).sum();
            let new: Vec<_> =
                names.iter().filter(|name| known.iter().all(|(_, known)| known != *name)).collect();
            // At most 64 replicas have a bit: those of the settings go first.
            let excess = (known.len() + new.len() + kept.len()).saturating_sub(MAX_REPLICAS);
            for (bit, index) in kept.drain(..excess.min(kept.len())) {
                self.dismiss(bit)?;
                told[index].given_up = true;
            }
            taken |= kept.iter().map(|(bit, _)| 1 << bit).sum::<u64>();
            for name in new {
                let bit = (!taken).trailing_zeros() as u8;
                taken |= 1 << bit;
                self.admit(bit, name)?;
            }
        }
        told.retain(|gone| gone.pending.writes > 0);
        Ok(told)
    }

    /// Gives up the replicas that left the settings and for each of which the file holds more than `max` bytes: only what all
    /// are past is removed, so that a gap is always damage.
    pub fn limit_gone(&self, max: usize) -> Result<Vec<Gone>> {
        let mut told = Vec::new();
        let pages: i64 =
            self.connection.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        if (pages as usize).saturating_mul(PAGE) <= max {
            return Ok(told);
        }
        for (bit, name) in self.known_replicas()? {
            if !self.bits.contains(&Some(bit)) && self.held_for_bit(bit)? > max {
                let pending = self.lag_of_bit(bit)?;
                self.grow(|store| store.dismiss(bit))?;
                told.push(Gone { name, pending, given_up: true });
            }
        }
        Ok(told)
    }

    /// How many bytes of writes come after what a replica has, for whichever replica they are.
    fn held_for_bit(&self, bit: u8) -> Result<usize> {
        let sql = "SELECT coalesce(sum(bytes), 0) FROM writes WHERE seq > (SELECT position FROM replicas WHERE bit = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([bit], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Takes a replica's bit, and remembers how far it was. It gets what is written from now on only if it comes back before
    /// anything is, or was set up anew: its watermark says which.
    fn dismiss(&self, bit: u8) -> Result<()> {
        let last = self.last()? as i64;
        let lag = self.lag_of_bit(bit)?.writes;
        // One that lacks something was left behind where it was: it is not to be known again as one that goes on.
        let keep = "INSERT OR REPLACE INTO gone SELECT name, position, state, sum, iif(?3, ?2, position) FROM replicas \
                    WHERE bit = ?1";
        self.connection
            .execute("DELETE FROM gone WHERE name = (SELECT name FROM replicas WHERE bit = ?1)", [bit])?;
        self.connection.execute(keep, params![bit, last, lag == 0])?;
        self.connection.execute("DELETE FROM replicas WHERE bit = ?1", [bit])?;
        let sql =
            "DELETE FROM gone WHERE rowid <= (SELECT rowid FROM gone ORDER BY rowid DESC LIMIT 1 OFFSET ?1)";
        self.connection.execute(sql, [MAX_GONE])?;
        Ok(())
    }

    /// Notes after which write a replica is away that keeps its bit, since something is pending for it.
    fn goes(&self, bit: u8) -> Result<()> {
        let sql =
            "INSERT OR IGNORE INTO gone SELECT name, position, state, sum, ?2 FROM replicas WHERE bit = ?1";
        self.connection.execute(sql, params![bit, self.last()? as i64])?;
        Ok(())
    }

    /// One that kept its bit goes on, unless there were writes meanwhile: those are not for it, and it would lack them
    /// without a word.
    fn comes_back(&self, bit: u8, name: &str) -> Result<()> {
        let sql = "SELECT last FROM gone WHERE name = ?1";
        let left = self.connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).optional()?;
        let Some(left) = left else { return Ok(()) };
        self.connection.execute("DELETE FROM gone WHERE name = ?1", [name])?;
        let last = self.last()? as i64;
        if left == last {
            return Ok(());
        }
        let mut cursor = self.cursor_of_bit(bit)?;
        cursor.state.stopped = cursor.state.stopped.or_else(|| Some(lacks(left + 1, last)));
        self.save_bit(bit, cursor.position, &state_of(&cursor))
    }

    /// Gives a replica a bit. It gets what is written from now on. One that comes back after others have got something is
    /// right only if it was synced from a copy of the primary: its watermark says so, where it ever had one, and what it had
    /// rejected before is in the copy.
    fn admit(&self, bit: u8, name: &str) -> Result<()> {
        let last = self.last()? as i64;
        let sql = "SELECT last, state FROM gone WHERE name = ?1";
        let gone = self
            .connection
            .query_row(sql, [name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
        let gone = gone.optional()?;
        let sql = "INSERT INTO replicas SELECT ?1, name, position, state, sum FROM gone WHERE name = ?2 AND last = ?3";
        let known = self.connection.execute(sql, params![bit, name, last])?;
        self.connection.execute("DELETE FROM gone WHERE name = ?1", [name])?;
        if known > 0 {
            return Ok(());
        }
        self.delete_letters_of(name)?;
        let mut state = State::default();
        if let Some((left, before)) = gone
            && serde_json::from_str::<State>(&before).is_ok_and(|before| before.standing.is_none())
        {
            state.stopped = Some(lacks(left + 1, last));
        }
        let state = state_of(&Cursor { position: last as u64, state });
        // In one step with its sum: a row without one is damaged.
        self.connection.execute(
            "INSERT INTO replicas VALUES (?1, ?2, ?3, ?4, ?5)",
            params![bit, name, last, state, sum_of(&[last], &state)],
        )?;
        Ok(())
    }

    fn known_replicas(&self) -> Result<Vec<(u8, String)>> {
        let mut statement = self.connection.prepare_cached("SELECT bit, name FROM replicas ORDER BY bit")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    fn lag_of_bit(&self, bit: u8) -> Result<Pending> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM writes WHERE targets & (1 << ?1) \
                   AND seq > (SELECT position FROM replicas WHERE bit = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([bit], |row| {
            Ok(Pending { writes: row.get::<_, i64>(0)? as usize, bytes: row.get::<_, i64>(1)? as usize })
        })?)
    }
}

/// Why a replica gets nothing more that was away from write `first` on.
fn lacks(first: i64, last: i64) -> Stopped {
    let message = format!(
        "the replica was not among the settings when writes {first} to {last} were handed over, and lacks them; sync it anew, \
         then resume it"
    );
    Stopped::new(Stop::Diverged, &Reason::new(ReasonCode::Diverged, message))
}
