//! The journal's threads: they write while the broker lives, and end when all it was told is on disk.
//!
//! A write that fails ends the process at once: what was promised cannot be kept any more, and what was not promised
//! must not be.

use super::StartError;
use fairlead_engine::{Broker, Clock, JOURNAL_FOLDER, OpenError, Opened, Settings, Storage};
use fairlead_journal::{Error, Folder, Options};
use fairlead_kernel::message::HeadReaders;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The threads of an open journal.
pub struct JournalThreads {
    threads: Vec<JoinHandle<()>>,
}

/// A broker with what is kept in its data folder.
///
/// # Errors
/// What is kept cannot be read, or the settings contradict it.
pub fn open(
    folder: &Path,
    options: Options,
    settings: Settings,
    readers: HeadReaders,
) -> Result<(Arc<Broker>, JournalThreads), StartError> {
    let failed = |source| StartError::Journal { folder: folder.to_path_buf(), source };
    let backend = Arc::new(Folder::new(folder.join(JOURNAL_FOLDER)).map_err(failed)?);
    let fatal = Box::new(|error: &Error| {
        tracing::error!(%error, "the journal cannot be written: ending at once, so that nothing is promised that is not kept");
        std::process::abort();
    });
    let storage = Storage { backend, options, clock: Clock::from_machine(), fatal };
    let opened = Broker::open(settings, readers, storage).map_err(|error| match error {
        OpenError::Journal(error) => failed(error),
        OpenError::Settings(error) => StartError::Settings(error),
    })?;
    let Opened { broker, writer, keeper, found } = opened;
    tracing::info!(
        records = found.records,
        bytes = found.bytes,
        milliseconds = found.took.as_millis() as u64,
        "journal read"
    );
    let threads = vec![
        Builder::new().name("journal-writer".to_owned()).spawn(move || writer.run())?,
        Builder::new().name("journal-keeper".to_owned()).spawn(move || keeper.run())?,
        Builder::new().name("journal-upkeep".to_owned()).spawn({
            let broker = Arc::clone(&broker);
            move || broker.serve_upkeep()
        })?,
        Builder::new().name("journal-reader".to_owned()).spawn({
            let broker = Arc::clone(&broker);
            move || broker.serve_fetches()
        })?,
    ];
    Ok((broker, JournalThreads { threads }))
}

/// What an operator can do about a journal that cannot be opened.
pub fn what_to_do(error: &Error) -> &'static str {
    match error {
        Error::Locked { .. } => "stop the broker that runs there, or give this one a data_dir of its own",
        Error::Corrupt { .. } | Error::Missing { .. } => {
            "nothing was changed: `fairlead journal verify` lists all that is damaged, and a snapshot can be put in \
             the folder's place"
        }
        Error::Version { .. } => "nothing was changed: start the version that wrote it, or a later one",
        Error::Rejected { .. } => {
            "nothing was changed: `fairlead journal dump` shows the record; start the version that wrote it"
        }
        Error::Io { .. } => "nothing was confirmed: mend that and start again",
        Error::Options(_) => "mend the section `journal` of the configuration",
    }
}

impl JournalThreads {
    /// Wait until all is on disk. Nothing is taken any more.
    pub fn finish(self, broker: &Broker) {
        broker.close_storage();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal has failed");
            }
        }
    }
}
