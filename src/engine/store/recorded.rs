//! How far the journal has to come before what was just done is safe to tell.
//!
//! Whatever a thread appends between [`during`]'s beginning and its end belongs to what it does there: a request's or
//! a batch's records are appended by the task that carries it out, while it holds the locks that order them.

use fairlead_journal::Position;
use std::cell::Cell;

thread_local! {
    static LAST: Cell<Option<Position>> = const { Cell::new(None) };
}

/// This thread has appended a record.
pub(super) fn note(position: Position) {
    LAST.set(LAST.get().max(Some(position)));
}

/// The position of the last record that is appended in `f`, if one is.
pub(crate) fn during<R>(f: impl FnOnce() -> R) -> (R, Option<Position>) {
    let outer = LAST.take();
    let result = f();
    let inner = LAST.get();
    LAST.set(outer.max(inner));
    (result, inner)
}
