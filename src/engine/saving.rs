//! The thread that puts writes into the file, and looks for journals of dead processes.

use std::sync::Arc;

use crate::{
    ground::{error::Error, event::Level, panics},
    journal::{Work, Writer},
    replica::Shared,
};

/// Starts the thread that puts writes into the file, where there is one.
pub(super) fn start_writer(shared: &Arc<Shared>) -> Result<Option<Writer>, Error> {
    if !shared.own.is_durable() {
        return Ok(None);
    }
    let (rest, shared) = (shared.adoption.interval, Arc::clone(shared));
    let work = move || {
        panics::caught("journal", || save(&shared)).unwrap_or_else(|panic| {
            shared.log(Level::Error, panic.to_string());
            Work::Failed
        })
    };
    Writer::start(rest, work).map(Some).map_err(|error| Error::Start(error.to_string()))
}

/// One look of that thread for work.
fn save(shared: &Shared) -> Work {
    let journal = &shared.own.journal;
    let unsaved = journal.unsaved() > 0;
    // Those who wait for their writes save them; one more would only hold them up.
    let found = unsaved && !journal.is_attended();
    if found {
        journal.save_all();
    }
    let failed = shared.sources().iter().fold(false, |failed, source| source.journal.catch_up() | failed);
    shared.adopt_if_due();
    if found {
        shared.wake();
        // What it has put into the file has lingered here already.
        shared.nudge_tasks();
    }
    shared.tell_news();
    if failed {
        Work::Failed
    } else if found {
        Work::Done
    } else if unsaved {
        Work::Others
    } else {
        Work::None
    }
}
