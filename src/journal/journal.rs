//! The journal of one origin: what is in memory and what is in the file, as one.

use std::sync::Arc;

use crate::{
    journal::{
        file::disk::{Disk, GROUP},
        memory::{
            cursor::Cursor,
            letter::LetterKey,
            letters::NotReplayed,
            limits::{Limits, Pending},
            queue::{Appended, Queue, Read},
        },
    },
    write::{Draft, Moment, Reason, Write, outcome::Outcome},
};

/// How many writes are read from the file at once: about as many as fit in one request.
const READ_WRITES: usize = 500;

/// The writes of one origin.
#[derive(Debug)]
pub struct Journal {
    queue: Queue,
    disk: Option<Disk>,
}

impl Journal {
    /// An empty one in memory.
    pub fn in_memory(limits: Limits) -> Self {
        Self { queue: Queue::new(limits), disk: None }
    }

    /// One with a file, of which each replica lacks what `lag` says.
    pub fn on_disk(limits: Limits, disk: Disk, last: u64, lag: Vec<Pending>, positions: Vec<u64>) -> Self {
        Self { queue: Queue::filed(limits, last, lag, positions), disk: Some(disk) }
    }

    /// The file, where there is one.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Numbers and keeps a write.
    pub fn append(&self, draft: Draft) -> Appended {
        self.queue.append(draft)
    }

    /// Puts what was appended up to number `seq` into the file, together with what other threads have appended.
    pub fn save_through(&self, seq: u64) {
        if let Some(disk) = &self.disk {
            disk.save_through(&self.queue, seq);
        }
    }

    /// The same for everything appended so far. Whether anything is left that could not be put there.
    pub fn save_all(&self) -> bool {
        self.save_through(self.queue.last());
        self.unsaved() == 0
    }

    /// Whether write number `seq` is in the file, or needs not be.
    pub fn is_saved(&self, seq: u64) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.saved() >= seq)
    }

    /// Whether some thread is at putting writes into the file.
    pub fn is_attended(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::is_attended)
    }

    /// Puts everything appended so far into the file, even if the disk has just failed.
    pub fn save_again(&self) {
        if let Some(disk) = &self.disk {
            disk.try_again();
            disk.catch_up(&self.queue);
            self.save_all();
        }
    }

    /// Puts into the file what else could not be put there when it happened. Whether the disk still fails.
    pub fn catch_up(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.catch_up(&self.queue))
    }

    /// How many writes are not in the file yet, without a lock: perhaps one more or less.
    pub fn unsaved_about(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| self.queue.last_seen().saturating_sub(disk.saved()))
    }

    /// How many writes are not in the file yet.
    pub fn unsaved(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| self.queue.last().saturating_sub(disk.saved()))
    }

    /// The next writes for `replica` after number `position`, as long as `take` accepts them. What comes back is the
    /// number of the last write looked at and passed over, or `position`: everything up to there that comes before the
    /// first write taken does not concern the replica. Only a damaged file makes it fail.
    pub fn read_after(
        &self,
        position: u64,
        replica: u8,
        mut take: impl FnMut(&Arc<Write>) -> bool,
    ) -> Result<u64, Reason> {
        let (mut at, mut before_first) = (position, None);
        loop {
            let (writes, seen) = match self.read_part(at, replica) {
                Ok(part) => part,
                // What is in front of the damage is good.
                Err(_) if at > position => break,
                Err(reason) => return Err(reason),
            };
            for write in &writes {
                let passed = *before_first.get_or_insert(write.seq - 1);
                if !take(write) {
                    return Ok(passed);
                }
            }
            if seen == at {
                break;
            }
            at = seen;
        }
        Ok(before_first.unwrap_or(at))
    }

    /// The next writes that are open for `replica`, and the number of the last one looked at.
    fn read_part(&self, position: u64, replica: u8) -> Result<(Vec<Arc<Write>>, u64), Reason> {
        match self.queue.read_after(position, replica) {
            Read::Part(writes, seen) => Ok((writes, seen)),
            Read::Filed(before) => {
                let mut writes = self.read_file(position, before)?;
                let seen = writes.last().map_or(position, |write| write.seq);
                writes.retain(|write| write.is_open_for(replica));
                Ok((writes, seen))
            }
        }
    }

    fn read_file(&self, after: u64, before: u64) -> Result<Vec<Arc<Write>>, Reason> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let open = |seq| self.queue.open_in_file(seq);
        let writes = disk
            .with(|store| store.load(after, before, READ_WRITES, open))
            .map_err(|error| disk.unreadable(&error))?;
        Ok(writes.into_iter().map(|write| self.queue.share(write)).collect())
    }

    /// The newest write that is open for `replica`. Only a damaged file makes it fail.
    pub fn last_open(&self, replica: u8) -> Result<Option<Arc<Write>>, Reason> {
        if self.lag(replica).writes == 0 {
            return Ok(None);
        }
        match (self.queue.last_open(replica), &self.disk) {
            (None, Some(disk)) => {
                let found = self.newest_in_file(disk, replica);
                // The last of it was perhaps settled meanwhile, and the file removed.
                if found.is_err() && self.lag(replica).writes == 0 { Ok(None) } else { found }
            }
            (open, _) => Ok(open),
        }
    }

    fn newest_in_file(&self, disk: &Disk, replica: u8) -> Result<Option<Arc<Write>>, Reason> {
        let open = |seq| self.queue.open_in_file(seq);
        // In one step: it may be removed at any moment.
        let newest = disk.with(|store| match store.newest_for(usize::from(replica))? {
            Some(seq) => store.load(seq - 1, seq + 1, 1, open),
            None => Ok(Vec::new()),
        });
        let newest = newest.map_err(|error| disk.unreadable(&error))?.pop();
        Ok(newest.map(|write| self.queue.share(write)).filter(|write| write.is_open_for(replica)))
    }

    /// When the oldest write was handed over that `replica` has no outcome for.
    pub fn oldest_open(&self, replica: u8) -> Option<Moment> {
        let position = self.queue.position(replica);
        self.queue.oldest_open(replica).or_else(|| {
            let disk = self.disk.as_ref()?;
            disk.with(|store| store.oldest_for(usize::from(replica), position)).ok().flatten()
        })
    }

    /// Keeps how far `replica` is, before something is sent that depends on it. Whether that worked.
    pub fn save_cursor(&self, replica: u8, cursor: &Cursor) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.save_cursor(&self.queue, replica, cursor))
    }

    /// The last write that may be sent.
    pub fn sendable(&self) -> u64 {
        self.queue.sendable()
    }

    /// Holds back nothing of what was appended until now: somebody waits for it.
    pub fn hurry(&self) {
        if let Some(disk) = &self.disk {
            disk.hurry(&self.queue);
        }
    }

    /// Notes that `replica` has an outcome for everything up to number `position`.
    pub fn acknowledge(&self, replica: u8, position: u64) {
        self.queue.acknowledge(replica, position);
    }

    /// Removes a group of writes from the file that every replica is past; while there is other work, only where it is a
    /// whole group. Whether there may be more.
    pub fn collect(&self, idle: bool) -> bool {
        let Some(disk) = &self.disk else { return false };
        let ripe = self.queue.floor().saturating_sub(disk.collected());
        (ripe >= GROUP as u64 || idle && (ripe > 0 || disk.has_room())) && disk.collect(self.queue.floor())
    }

    /// Appends writes that replay dead letters, each of which is removed in the same step; all, or none.
    pub fn replay(&self, drafts: Vec<(LetterKey, Draft)>) -> Result<Vec<Appended>, NotReplayed> {
        match &self.disk {
            Some(disk) => disk.replay(&self.queue, drafts),
            None => Ok(drafts.into_iter().map(|(_, draft)| self.queue.append(draft)).collect()),
        }
    }
}

/// What needs no file.
impl Journal {
    /// Whether there is something to send, or to pass over, after number `position`.
    pub fn has_after(&self, position: u64) -> bool {
        self.queue.has_after(position)
    }

    /// The number of the last write appended; 0 before the first.
    pub fn last(&self) -> u64 {
        self.queue.last()
    }

    /// Records outcomes, and drops what is settled everywhere.
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Arc<Write>, Outcome)>) {
        self.queue.settle(outcomes);
    }

    /// Settles with `reason` all that is open for `replica` up to number `through`. How many there were.
    pub fn settle_all(&self, replica: u8, through: u64, reason: &Reason) -> usize {
        self.queue.settle_all(replica, through, reason)
    }

    /// Wakes whoever waits for writes that stay in the file.
    pub fn abandon(&self) {
        self.queue.abandon();
    }

    /// From now on writes are settled at once for `replica` as detached.
    pub fn detach(&self, replica: u8) {
        self.queue.detach(replica);
    }

    /// Takes writes for `replica` again, from the next one on. The number of the last write before it.
    pub fn attach(&self, replica: u8) -> u64 {
        self.queue.attach(replica)
    }

    /// From now on writes are settled at once as not accepted.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether it accepts nothing more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether `replica` takes writes.
    pub fn takes(&self, replica: u8) -> bool {
        self.queue.takes(replica)
    }

    /// What is in the journal.
    pub fn total(&self) -> Pending {
        self.queue.total()
    }

    /// What `replica` has no outcome for.
    pub fn lag(&self, replica: u8) -> Pending {
        self.queue.lag(replica)
    }
}
