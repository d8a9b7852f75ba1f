//! From a message to destinations, one exchange at a time.
//!
//! Flow: [`Topology::route`](crate::topology::Topology::route) asks the [`Router`] of each exchange it comes
//! by; the router adds the [`Target`]s of every binding that matches to [`Matches`]. Direct and topic
//! exchanges, hash rings and random choices have an index of their own, kept up to date by `insert` and
//! `remove`; fanout and headers exchanges walk the exchange's bindings.

mod bag;
mod direct;
mod fanout;
mod hash;
mod headers;
mod random;
mod topic;

pub use hash::MAX_WEIGHT;
pub(crate) use hash::{BINDINGS_PER_WEIGHT, weight};

use crate::ids::QueueId;
use crate::message::HeadReader;
use crate::settings::ExchangeKind;
use crate::settings::ExchangeSettings;
use crate::topology::{BindingRecord, Bindings};
use crate::value::Value;
use std::sync::Arc;

/// What routing may look at.
#[derive(Clone, Copy)]
pub struct Routable<'a> {
    /// Routing keys: the message's own first, then the extra ones. Each is tried; a hash uses the first.
    pub keys: &'a [&'a str],
    /// Reads `head`.
    pub reader: &'a dyn HeadReader,
    /// The message's properties, as encoded.
    pub head: &'a [u8],
    /// What random exchanges choose by: another one for each message.
    pub seed: u64,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Queue(QueueId),
    Exchange(Arc<str>),
}

impl Target {
    /// Not above any other.
    pub(crate) const FIRST: Target = Target::Queue(QueueId(0));
}

/// Steps that routing one message may take: nodes of topic exchanges reached, word by word, and arguments of headers
/// exchanges compared. Some 20 to 100 ms; a key and binding keys that no application has can ask for thousands of times
/// as much (measured: 81 s), and meanwhile the thread serves nobody else.
pub const STEPS_MAX: u64 = 1_000_000;

/// What one walk through the exchanges has found so far.
pub(crate) struct Matches<'t, 'o> {
    /// Queues, with repetitions.
    pub(crate) queues: &'o mut Vec<QueueId>,
    /// Exchanges still to be walked, with repetitions.
    pub(crate) exchanges: Vec<&'t str>,
    /// The exchange at hand has matched something.
    pub(crate) matched: bool,
    /// The answer depends on more than exchange and key.
    pub(crate) volatile: bool,
    headers: Option<Headers>,
    steps_left: u64,
}

/// A message's headers by name; of repeated ones the first counts.
pub(crate) struct Headers(Vec<(String, Value)>);

impl Headers {
    pub(crate) fn new(mut headers: Vec<(String, Value)>) -> Headers {
        headers.sort_by(|(left, _), (right, _)| left.cmp(right));
        Headers(headers)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let at = self.0.partition_point(|(other, _)| other.as_str() < name);
        self.0.get(at).filter(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<'t, 'o> Matches<'t, 'o> {
    pub(crate) fn new(queues: &'o mut Vec<QueueId>) -> Matches<'t, 'o> {
        Matches {
            queues,
            exchanges: Vec::new(),
            matched: false,
            volatile: false,
            headers: None,
            steps_left: STEPS_MAX,
        }
    }

    #[inline]
    fn add(&mut self, target: &'t Target) {
        self.matched = true;
        match target {
            Target::Queue(id) => self.queues.push(*id),
            Target::Exchange(name) => self.exchanges.push(name),
        }
    }

    /// Take so many steps more; false if they are more than [`STEPS_MAX`] together, and for ever after.
    #[inline]
    fn spend(&mut self, steps: usize) -> bool {
        self.steps_left = self.steps_left.saturating_sub(steps as u64);
        self.steps_left > 0
    }

    /// The walk was given up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.steps_left == 0
    }

    /// The message's headers, read when the first exchange asks for them.
    fn take_headers(&mut self, message: &Routable<'_>) -> Headers {
        self.headers.take().unwrap_or_else(|| Headers::new(message.reader.headers(message.head)))
    }

    fn put_back(&mut self, headers: Headers) {
        self.headers = Some(headers);
    }
}

/// The index of one exchange's bindings, by its kind. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Router {
    Direct(direct::Direct),
    Topic(topic::Topic),
    Fanout,
    Headers,
    Hash(hash::Ring),
    Random(random::Random),
}

impl Router {
    pub(crate) fn new(settings: &ExchangeSettings) -> Router {
        match settings.kind {
            ExchangeKind::Direct => Router::Direct(direct::Direct::default()),
            ExchangeKind::Topic => Router::Topic(topic::Topic::default()),
            ExchangeKind::Fanout => Router::Fanout,
            ExchangeKind::Headers => Router::Headers,
            ExchangeKind::ConsistentHash => Router::Hash(hash::Ring::new(settings.hash_header.as_deref())),
            ExchangeKind::Random => Router::Random(random::Random::default()),
        }
    }

    /// Index one more binding.
    pub(crate) fn insert(&mut self, binding: &BindingRecord) {
        match self {
            Router::Direct(direct) => direct.insert(&binding.key, &binding.target),
            Router::Topic(topic) => topic.insert(&binding.key, &binding.target),
            Router::Fanout | Router::Headers => {}
            Router::Hash(ring) => ring.insert(binding),
            Router::Random(random) => random.insert(&binding.target),
        }
    }

    /// Undo one `insert` of that binding.
    pub(crate) fn remove(&mut self, binding: &BindingRecord) {
        match self {
            Router::Direct(direct) => direct.remove(&binding.key, &binding.target),
            Router::Topic(topic) => topic.remove(&binding.key, &binding.target),
            Router::Fanout | Router::Headers => {}
            Router::Hash(ring) => ring.remove(binding),
            Router::Random(random) => random.remove(&binding.target),
        }
    }

    /// Add the targets of the bindings that match; `exchange` is the name of the one that routes.
    pub(crate) fn route<'t>(
        &'t self,
        exchange: &str,
        bindings: &'t Bindings,
        message: &Routable<'_>,
        matches: &mut Matches<'t, '_>,
    ) {
        match self {
            Router::Direct(direct) => message.keys.iter().for_each(|key| direct.route(key, matches)),
            Router::Topic(topic) => message.keys.iter().for_each(|key| topic.route(key, matches)),
            Router::Fanout => fanout::route(bindings, matches),
            Router::Headers => headers::route(bindings, message, matches),
            Router::Hash(ring) => ring.route(message, matches),
            Router::Random(random) => random.route(exchange, message.seed, matches),
        }
    }
}
