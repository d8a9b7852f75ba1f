//! Deliveries on their way from queues to one connection: what an outbox holds.
//!
//! Flow: a queue's dispatch appends to a batch for each consumer; the engine moves whole batches into
//! outboxes (swapping when the outbox is empty); the connection's task walks them as
//! [`Delivery`]s. What is the same for many deliveries in a row is kept once, as a [`Run`].

use super::chunk::Chunks;
use super::labels::Labels;
use super::packed::{self, Lengths};
use crate::ids::{ConsumerId, QueueId, Sequence, SessionId};
use crate::message::{Body, Message, MessageView};
use crate::session::Delivery;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a delivery costs of its consumer's transfer window besides its message: a record, and the
/// envelope that its protocol adds.
const OVERHEAD: u32 = 64;

/// A consumer's place in its queue. Never mistaken for a later consumer in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Slot {
    /// Small number, unique among the consumers that are attached: an index for tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Deliveries in a row from one queue to one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// From which queue.
    pub queue: QueueId,
    /// To which consumer's place there; `None` for a Get.
    pub slot: Option<Slot>,
    /// To which session.
    pub session: SessionId,
    /// For which consumer; `None` for a Get.
    pub consumer: Option<ConsumerId>,
    /// They have to be settled.
    pub acknowledge: bool,
    /// Failed deliveries are to be told.
    pub tell_delivery_count: bool,
    /// For a Get: ready messages left behind.
    pub remaining: u64,
    /// How many deliveries.
    pub count: u32,
    /// What they cost of the consumer's transfer window, in bytes.
    pub cost: u64,
}

/// Where a message lies.
#[derive(Debug)]
enum Source {
    /// In the batch's bytes.
    Packed {
        /// From where.
        offset: u32,
        /// Number of its label.
        label: u32,
    },
    /// On its own.
    Shared(Arc<Message>),
}

#[derive(Debug)]
struct Record {
    sequence: Sequence,
    source: Source,
    cost: u32,
    delivery_count: u16,
    redelivered: bool,
}

/// Entry properties that travel with a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) sequence: Sequence,
    pub(super) delivery_count: u16,
    pub(super) redelivered: bool,
}

/// Deliveries in order, walked once with a [`DeliveryCursor`].
#[derive(Debug, Default)]
pub struct DeliveryBatch {
    runs: Vec<Run>,
    records: Vec<Record>,
    bytes: Vec<u8>,
    labels: Labels,
    /// The label last taken over from a chunk: pass of dispatch, chunk, its number there and here.
    taken_over: Option<(u64, u32, u32, u32)>,
    /// Bytes of shared messages, for [`DeliveryBatch::memory`].
    shared_bytes: usize,
}

/// How far a batch has been walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCursor {
    /// Index of the run that holds the next delivery; the runs before it are done.
    pub run: usize,
    /// Deliveries taken of that run.
    pub taken: u32,
    /// Cost of those, in bytes.
    pub cost: u64,
    record: usize,
}

impl DeliveryBatch {
    /// Deliveries in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Bytes held: buffers as allocated, and the shared messages.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
            + self.records.capacity() * size_of::<Record>()
            + self.bytes.capacity()
            + self.labels.memory()
            + self.shared_bytes
    }

    /// Forget all deliveries; buffers larger than `keep` bytes are given back.
    pub fn clear(&mut self, keep: usize) {
        self.runs.clear();
        self.records.clear();
        self.bytes.clear();
        self.labels.clear(keep);
        self.taken_over = None;
        self.shared_bytes = 0;
        self.runs.shrink_to(keep / size_of::<Run>());
        self.records.shrink_to(keep / size_of::<Record>());
        self.bytes.shrink_to(keep);
    }

    /// Move all of `other` behind what is here; an empty batch takes the other's buffers for its own.
    pub fn append(&mut self, other: &mut DeliveryBatch) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let base = short(self.bytes.len());
        self.bytes.append(&mut other.bytes);
        let labels = self.labels.append(&mut other.labels);
        other.taken_over = None;
        self.records.extend(other.records.drain(..).map(|mut record| {
            if let Source::Packed { offset, label } = &mut record.source {
                *offset += base;
                *label += labels;
            }
            record
        }));
        match (self.runs.last_mut(), other.runs.first()) {
            (Some(last), Some(first)) if last.continues_with(first) => {
                last.count += first.count;
                last.cost += first.cost;
                self.runs.extend(other.runs.drain(..).skip(1));
            }
            _ => self.runs.append(&mut other.runs),
        }
        self.shared_bytes += std::mem::take(&mut other.shared_bytes);
    }

    /// The delivery at the cursor, which moves on; `None` at the end.
    pub fn next<'a>(&'a self, cursor: &mut DeliveryCursor) -> Option<Delivery<'a>> {
        let mut found = None;
        while found.is_none() && self.enter_run(cursor) {
            self.walk_run(cursor, 1, |delivery| {
                found = Some(*delivery);
                ControlFlow::Break(())
            });
        }
        found
    }

    /// Move the cursor to a run that is not at its end; false if there is none.
    #[inline]
    pub fn enter_run(&self, cursor: &mut DeliveryCursor) -> bool {
        loop {
            match self.runs.get(cursor.run..).unwrap_or_default() {
                [run, ..] if cursor.taken < run.count => return true,
                [_, _, ..] => {
                    cursor.run += 1;
                    cursor.taken = 0;
                    cursor.cost = 0;
                }
                [_] | [] => return false,
            }
        }
    }

    /// Walk what is left of the cursor's run, at most `most` deliveries, until `each` breaks off. What the
    /// deliveries of a run have in common is read once; this is the hot path. Gives how many were walked.
    #[inline]
    pub fn walk_run<'a>(
        &'a self,
        cursor: &mut DeliveryCursor,
        most: usize,
        mut each: impl FnMut(&Delivery<'a>) -> ControlFlow<()>,
    ) -> usize {
        let Some(run) = self.runs.get(cursor.run) else { return 0 };
        let most = most.min((run.count - cursor.taken) as usize);
        let rest = self.records.get(cursor.record..).unwrap_or_default();
        let mut delivery = run.delivery();
        let mut label_of_last = None;
        let (mut walked, mut cost) = (0, 0);
        for record in rest.iter().take(most) {
            walked += 1;
            cost += u64::from(record.cost);
            delivery.sequence = record.sequence;
            delivery.redelivered = record.redelivered;
            delivery.delivery_count = record.delivery_count;
            match &record.source {
                Source::Packed { offset, label } => {
                    let (head, body) = packed::contents(&self.bytes[*offset as usize..]);
                    delivery.alike = label_of_last == Some(*label);
                    if delivery.alike {
                        delivery.message.head = head;
                        delivery.message.body = Body::Slice(body);
                    } else {
                        label_of_last = Some(*label);
                        delivery.message = self.labels.view(*label, head, body);
                    }
                }
                Source::Shared(message) => {
                    label_of_last = None;
                    delivery.alike = false;
                    delivery.message = Message::view(message);
                }
            }
            if each(&delivery).is_break() {
                break;
            }
        }
        cursor.record += walked;
        cursor.taken += short(walked);
        cursor.cost += cost;
        walked
    }

    /// Whether `cursor` has taken every delivery.
    #[must_use]
    pub fn is_walked(&self, cursor: &DeliveryCursor) -> bool {
        cursor.record == self.records.len()
    }

    /// Begin a run; what is pushed next belongs to it.
    pub(crate) fn begin(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Whether no run has begun.
    #[inline]
    pub(crate) fn is_unused(&self) -> bool {
        self.runs.is_empty()
    }

    /// Append a message that lies packed in a chunk; returns its cost. `pass` is a number that changes
    /// whenever the chunk's labels may have.
    #[inline]
    pub(super) fn push_packed(
        &mut self,
        stamp: Stamp,
        chunks: &Chunks,
        (chunk, offset): (u32, u32),
        pass: u64,
    ) -> u32 {
        let (bytes, labels) = chunks.at(chunk, offset);
        let (theirs, record) = packed::record(bytes);
        let label = match self.taken_over {
            Some((at, from, number, ours)) if (at, from, number) == (pass, chunk, theirs) => ours,
            _ => {
                let ours = self.labels.note(&packed::view(record, theirs, labels));
                self.taken_over = Some((pass, chunk, theirs, ours));
                ours
            }
        };
        let offset = short(self.bytes.len());
        self.bytes.extend_from_slice(record);
        let cost = short(record.len()) + OVERHEAD;
        self.push(stamp, Source::Packed { offset, label }, cost)
    }

    /// Append a message straight from its publisher, of these lengths; returns its cost. Messages
    /// pushed in the same `pass` with the same `kind` have the same label.
    #[inline]
    pub(super) fn push_new(
        &mut self,
        stamp: Stamp,
        message: &MessageView<'_>,
        lengths: Lengths,
        (pass, kind): (u64, u32),
    ) -> u32 {
        let label = match self.taken_over {
            Some((at, 0, of, ours)) if (at, of) == (pass, kind) => ours,
            _ => {
                let ours = self.labels.note(message);
                self.taken_over = Some((pass, 0, kind, ours));
                ours
            }
        };
        let offset = short(self.bytes.len());
        packed::pack(message, lengths, label, &mut self.bytes);
        self.push(stamp, Source::Packed { offset, label }, short(lengths.packed()) + OVERHEAD)
    }

    /// Append a shared message of that many bytes; returns its cost.
    pub(super) fn push_shared(&mut self, stamp: Stamp, message: Arc<Message>, bytes: usize) -> u32 {
        self.shared_bytes += bytes;
        self.push(stamp, Source::Shared(message), short(bytes).saturating_add(OVERHEAD))
    }

    #[inline]
    fn push(&mut self, stamp: Stamp, source: Source, cost: u32) -> u32 {
        self.records.push(Record {
            sequence: stamp.sequence,
            source,
            cost,
            delivery_count: stamp.delivery_count,
            redelivered: stamp.redelivered,
        });
        if let Some(run) = self.runs.last_mut() {
            run.count += 1;
            run.cost += u64::from(cost);
        }
        cost
    }
}

impl Run {
    /// A delivery of this run, without a message yet.
    fn delivery<'a>(&self) -> Delivery<'a> {
        Delivery {
            session: self.session,
            consumer: self.consumer,
            queue: self.queue,
            sequence: Sequence(0),
            acknowledge: self.acknowledge,
            redelivered: false,
            delivery_count: 0,
            tell_delivery_count: self.tell_delivery_count,
            remaining: self.remaining,
            alike: false,
            message: MessageView::EMPTY,
        }
    }

    fn continues_with(&self, next: &Run) -> bool {
        Run { count: next.count, cost: next.cost, ..*self } == *next && self.slot.is_some()
    }
}

/// Transfer windows keep batches far below 4 GiB; a length beyond it would be a defect of ours.
#[inline]
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
