//! How a message is held in memory: small ones are copied into chunks, larger ones shared.

use super::chunk::Chunks;
use super::entry::{Entry, Handle};
use super::packed;
use crate::message::{Message, MessageView};
use std::sync::Arc;

/// Bodies are far below 4 GiB: their protocols' limits see to that.
#[inline]
pub(super) fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Keep a message: copied when small, else shared; returns where, and the length of its body.
#[inline]
pub(super) fn keep(
    chunks: &mut Chunks,
    shared_bytes: &mut usize,
    message: &MessageView<'_>,
    alike: &mut Option<(u32, u32)>,
) -> (Handle, u32) {
    match packed::lengths(message) {
        Some(packed) => {
            let (chunk, offset) = chunks.store(message, packed, alike);
            (Handle::Inline { chunk, offset }, packed.body())
        }
        None => {
            let shared = message.to_shared();
            *shared_bytes += shared_size(&shared);
            (Handle::Shared(shared), short(message.body.len()))
        }
    }
}

/// The message of an entry, unless it is only in the store.
#[inline]
pub(super) fn view<'a>(chunks: &'a Chunks, entry: &'a Entry) -> Option<MessageView<'a>> {
    match &entry.handle {
        Handle::Inline { chunk, offset } => Some(chunks.view(*chunk, *offset)),
        Handle::Shared(message) => Some(Message::view(message)),
        Handle::Stored | Handle::Gone => None,
    }
}

/// Bytes a shared message is accounted for.
pub(super) fn shared_size(message: &Arc<Message>) -> usize {
    size_of::<Message>()
        + message.exchange.len()
        + message.routing_key.len()
        + message.head.len()
        + message.body.iter().map(bytes::Bytes::len).sum::<usize>()
        + message.body.len() * size_of::<bytes::Bytes>()
}
