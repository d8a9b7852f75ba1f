//! Bugs that brokers have had, put between the simulation and the engine, to see that the invariants find them.

/// A bug.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    /// None.
    #[default]
    None,
    /// The disk says that a file is synced, and it is not.
    SyncLies,
    /// The disk says that names are synced, and they are not.
    FolderSyncLies,
    /// A publish is confirmed when it is taken, not when it is on disk.
    ConfirmsEarly,
    /// An acknowledgement is taken, and never carried out.
    AcksForgotten,
    /// A transaction is carried out one publish at a time.
    TransactionInPieces,
    /// A rollback commits.
    RollbackCommits,
    /// The publishes of a batch are taken last one first.
    BatchReversed,
    /// A durable queue is kept in memory only.
    QueueNotKept,
    /// A deletion is answered, and not carried out.
    DeletionForgotten,
    /// What a consumer rejects is dropped, its dead-letter exchange forgotten.
    DeadLetterLost,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 10] = [
        Bug::SyncLies,
        Bug::FolderSyncLies,
        Bug::ConfirmsEarly,
        Bug::AcksForgotten,
        Bug::TransactionInPieces,
        Bug::RollbackCommits,
        Bug::BatchReversed,
        Bug::QueueNotKept,
        Bug::DeletionForgotten,
        Bug::DeadLetterLost,
    ];
}
