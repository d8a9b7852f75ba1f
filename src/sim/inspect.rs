//! What a broker holds right after its start: its topology by its report, its queues by consumers that browse. What is
//! due is done before, else looking at a queue would have its dead letters go where somebody has looked already.

use crate::client::{Client, Mode, SESSION};
use crate::model::{Exchange, Model};
use crate::oracle::{Checked, Found, FoundEntry, kept, phantom, violated};
use fairlead_engine::Broker;
use fairlead_engine::report::Source;
use fairlead_kernel::session::Request;
use fairlead_kernel::settings::{ConsumerSettings, Destination, ExchangeKind};
use fairlead_kernel::{ConsumerId, Sequence, Time};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The bit that tells a browser's delivery from one that is held.
const BROWSED: u64 = 1 << 63;

/// Look at everything.
///
/// # Errors
/// A message is none of those that were published, or it cannot be seen.
pub fn look(broker: &Arc<Broker>, model: &Model, now: Time) -> Checked<Found> {
    // What has expired may have to be read before it goes.
    while broker.run_due(now).is_some_and(|next| next <= now) || broker.fetch_next(now) {}
    let mut found = Found::default();
    let ours = |name: &str| name.starts_with('x');
    for exchange in broker.exchanges().into_iter().filter(|exchange| ours(&exchange.name)) {
        let settings = &exchange.settings;
        let (durable, auto_delete) = (settings.durable, settings.auto_delete);
        let is_fanout = settings.kind == ExchangeKind::Fanout;
        found.exchanges.insert(exchange.name.to_string(), Exchange { is_fanout, durable, auto_delete });
    }
    for binding in broker.bindings().into_iter().map(|report| report.binding) {
        if let (true, Destination::Queue(queue)) = (ours(&binding.source), binding.destination) {
            found.bindings.insert((binding.source, queue, binding.key));
        }
    }
    let mut client = Client::connect(broker, 0, Mode::Plain, now)?;
    for (queue, number) in Source::queues(&**broker).into_iter().zip(1..) {
        let entries = browse(broker, &mut client, (&queue.name, ConsumerId(number)), model, now)?;
        found.queues.insert(queue.name.to_string(), entries);
    }
    for queue in Source::queues(&**broker) {
        let shown = found.queues.get(&*queue.name).map_or(0, |entries| entries.len() as u64);
        let hidden = queue.ready.checked_sub(shown);
        match hidden.filter(|hidden| *hidden <= may_have_expired(model, &queue.name, now)) {
            Some(0) => {}
            Some(hidden) => {
                found.hidden.insert(queue.name.to_string(), hidden);
            }
            None => {
                let words = format!("{} has {} messages ready and shows {shown}", queue.name, queue.ready);
                return Err(violated("service", words));
            }
        }
    }
    Ok(found)
}

/// How many messages a queue may hold that a browser passes over.
fn may_have_expired(model: &Model, name: &str, now: Time) -> u64 {
    let queue = model.latest(name).and_then(|key| model.queues.get(&key));
    let copies = queue.into_iter().flat_map(|queue| queue.copies.values());
    copies.filter(|copy| kept::may_be_hidden(copy, now)).count() as u64
}

fn browse(
    broker: &Broker,
    client: &mut Client,
    (name, consumer): (&str, ConsumerId),
    model: &Model,
    now: Time,
) -> Checked<Vec<FoundEntry>> {
    let settings = Box::new(ConsumerSettings { browse: true, ..ConsumerSettings::default() });
    let connection = client.connection();
    let request = Request::Subscribe { consumer, queue: name.to_owned(), settings };
    let answer = connection.execute(SESSION, request, now);
    let mut entries = Vec::new();
    loop {
        let mut got: Vec<Checked<FoundEntry>> = Vec::new();
        connection.walk_deliveries(|delivery| {
            let entry = phantom::identify(model, &delivery.message).map(|message| FoundEntry {
                sequence: Sequence(delivery.sequence.0 & !BROWSED),
                message,
                redelivered: delivery.redelivered,
                dead_letter: delivery.message.overlay.is_some(),
            });
            got.push(entry);
            ControlFlow::Continue(())
        });
        connection.delivered(now);
        if got.is_empty() {
            // What is on the disk only comes when it has been read.
            if broker.fetch_next(now) {
                continue;
            }
            break;
        }
        for entry in got {
            entries.push(entry?);
        }
    }
    if answer.is_none() {
        return Err(violated("service", format!("{name} cannot be browsed")));
    }
    connection.execute(SESSION, Request::Unsubscribe { consumer }, now);
    while connection.next_event().is_some() {}
    Ok(entries)
}
