//! A naive model, which keeps lists and looks through all of them, and random sequences of operations held
//! against it.

use super::operations::{Operation, nth_binding, operations};
use super::*;
use crate::topology::RouteMemo;
use proptest::prelude::*;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Exchanges in order of declaration, each with its bindings; queues with their ids.
#[derive(Default)]
struct Model {
    exchanges: Vec<(String, ExchangeSettings, Vec<Binding>)>,
    queues: BTreeMap<String, QueueId>,
}

impl Model {
    fn new() -> Model {
        let mut model = Model::default();
        for (name, kind) in crate::topology::PREDECLARED {
            model.exchanges.push((name.to_owned(), exchange(kind), Vec::new()));
        }
        model
    }

    fn find(&self, name: &str) -> Option<&(String, ExchangeSettings, Vec<Binding>)> {
        self.exchanges.iter().find(|(other, ..)| other == name)
    }

    fn bind(&mut self, binding: &Binding) {
        let there = match &binding.destination {
            Destination::Queue(name) => self.queues.contains_key(name),
            Destination::Exchange(name) => self.find(name).is_some(),
        };
        let found = self.exchanges.iter_mut().find(|(name, ..)| *name == binding.source);
        if let (true, Some((_, settings, bindings))) = (there, found) {
            let weighted =
                settings.kind != ExchangeKind::ConsistentHash || binding.key.parse::<u32>().is_ok();
            if weighted && !bindings.contains(binding) {
                bindings.push(binding.clone());
            }
        }
    }

    /// Remove bindings, then auto-delete exchanges that lost their last one by it, until none does.
    fn remove(&mut self, gone: impl Fn(&Binding) -> bool) {
        let mut emptied = Vec::new();
        for (name, settings, bindings) in &mut self.exchanges {
            let before = bindings.len();
            bindings.retain(|binding| !gone(binding));
            if settings.auto_delete && before > 0 && bindings.is_empty() {
                emptied.push(name.clone());
            }
        }
        emptied.iter().for_each(|name| self.delete_exchange(name));
    }

    fn delete_exchange(&mut self, name: &str) {
        if !crate::topology::PREDECLARED.iter().any(|(system, _)| *system == name) {
            self.exchanges.retain(|(other, ..)| other != name);
            self.remove(|binding| binding.destination == Destination::Exchange(name.to_owned()));
        }
    }

    fn delete_queue(&mut self, name: &str) {
        if self.queues.remove(name).is_some() {
            self.remove(|binding| binding.destination == Destination::Queue(name.to_owned()));
        }
    }

    fn route(&self, from: &str, keys: &[&str], head: &str, seed: u64) -> Option<Vec<QueueId>> {
        let (_, settings, _) = self.find(from)?;
        if settings.internal {
            return None;
        }
        let (mut seen, mut found) = (Vec::new(), Vec::new());
        self.visit(from, &(keys, head, seed), &mut seen, &mut found);
        found.sort();
        found.dedup();
        Some(found)
    }

    fn visit(
        &self,
        name: &str,
        message: &(&[&str], &str, u64),
        seen: &mut Vec<String>,
        found: &mut Vec<QueueId>,
    ) {
        let Some((_, settings, bindings)) = self.find(name) else { return };
        if seen.iter().any(|other| other == name) {
            return;
        }
        seen.push(name.to_owned());
        if name.is_empty() {
            found.extend(message.0.iter().filter_map(|key| self.queues.get(*key)));
            return;
        }
        let matching = self.matching(name, settings, bindings, message);
        if let (true, Some(alternate)) = (matching.is_empty(), &settings.alternate) {
            self.visit(alternate, message, seen, found);
        }
        for destination in matching {
            match destination {
                Destination::Queue(name) => found.extend(self.queues.get(name)),
                Destination::Exchange(name) => self.visit(name, message, seen, found),
            }
        }
    }

    fn matching<'b>(
        &self,
        name: &str,
        settings: &ExchangeSettings,
        bindings: &'b [Binding],
        (keys, head, seed): &(&[&str], &str, u64),
    ) -> Vec<&'b Destination> {
        let by = |test: &dyn Fn(&Binding) -> bool| -> Vec<&'b Destination> {
            bindings.iter().filter(|binding| test(binding)).map(|binding| &binding.destination).collect()
        };
        match settings.kind {
            ExchangeKind::Direct => by(&|binding| keys.contains(&binding.key.as_str())),
            ExchangeKind::Topic => by(&|binding| keys.iter().any(|key| topic_matches(&binding.key, key))),
            ExchangeKind::Fanout => by(&|_| true),
            ExchangeKind::Headers => by(&|binding| headers_match(binding, head)),
            ExchangeKind::ConsistentHash => {
                let hashed = match &settings.hash_header {
                    None => xxh3_64(keys[0].as_bytes()),
                    Some(header) => match PlainHead.header(head.as_bytes(), header) {
                        None => xxh3_64(b""),
                        Some(Value::Int64(number)) => xxh3_64(&[&[8][..], &number.to_le_bytes()].concat()),
                        Some(other) => xxh3_64(other.as_bytes().unwrap()),
                    },
                };
                on_ring(hashed, bindings)
            }
            ExchangeKind::Random => {
                let mut all: Vec<_> = bindings.iter().map(|binding| &binding.destination).collect();
                all.sort_by_key(|destination| match destination {
                    Destination::Queue(name) => (0, self.queues[name], ""),
                    Destination::Exchange(name) => (1, QueueId(0), name.as_str()),
                });
                let number = u128::from(xxh3_64_with_seed(name.as_bytes(), *seed));
                let at = (number * all.len() as u128) >> 64;
                all.get(usize::try_from(at).unwrap()).into_iter().copied().collect()
            }
        }
    }
}

/// The first point of any binding at or after the hash, or the first of all.
fn on_ring(hash: u64, bindings: &[Binding]) -> Vec<&Destination> {
    let mut points = Vec::new();
    for binding in bindings {
        let (name, kind) = match &binding.destination {
            Destination::Queue(name) => (name, 0),
            Destination::Exchange(name) => (name, 1),
        };
        let base = xxh3_64_with_seed(name.as_bytes(), kind);
        let count = binding.key.parse::<u64>().unwrap() * 64;
        points.extend((0..count).map(|n| (xxh3_64_with_seed(&base.to_le_bytes(), n), &binding.destination)));
    }
    points.sort();
    let next = points.iter().find(|(point, _)| *point >= hash).or(points.first());
    next.map(|(_, destination)| *destination).into_iter().collect()
}

fn topic_matches(pattern: &str, key: &str) -> bool {
    fn words(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }
    fn rest_matches(pattern: &[&str], key: &[&str]) -> bool {
        match pattern {
            [] => key.is_empty(),
            ["#", rest @ ..] => (0..=key.len()).any(|skip| rest_matches(rest, &key[skip..])),
            [word, rest @ ..] => {
                key.first().is_some_and(|first| word == &"*" || word == first)
                    && rest_matches(rest, &key[1..])
            }
        }
    }
    rest_matches(&words(pattern), &words(key))
}

fn headers_match(binding: &Binding, head: &str) -> bool {
    let one = |(name, wanted): &(String, Value)| match PlainHead.header(head.as_bytes(), name) {
        Some(found) => *wanted == Value::Void || found.means_same(wanted),
        None => false,
    };
    match binding.match_mode {
        MatchMode::All | MatchMode::AllWithX => binding.arguments.iter().all(one),
        MatchMode::Any | MatchMode::AnyWithX => binding.arguments.iter().any(one),
    }
}

/// Do one operation to both; a route must be the same.
fn step(bench: &mut Bench, model: &mut Model, operation: &Operation) {
    match operation {
        Operation::DeclareExchange(name, settings) => {
            if bench.exchange(name, settings).is_ok() && model.find(name).is_none() {
                model.exchanges.push(((*name).to_owned(), settings.clone(), Vec::new()));
            }
        }
        Operation::DeleteExchange(name, if_unused) => {
            let in_use = model.find(name).is_some_and(|(_, _, bindings)| !bindings.is_empty());
            let done = bench.delete_exchange(name, *if_unused).is_ok();
            let system = crate::topology::PREDECLARED.iter().any(|(system, _)| system == name);
            let refused = system || (*if_unused && in_use);
            assert_eq!(done, !refused);
            if done {
                model.delete_exchange(name);
            }
        }
        Operation::DeclareQueue(name) => {
            let id = bench.queue(name);
            model.queues.entry((*name).to_owned()).or_insert(id);
        }
        Operation::DeleteQueue(name) => {
            bench.delete_queue(name).unwrap();
            model.delete_queue(name);
        }
        Operation::Bind(binding) => {
            // What is refused, the model does not do either: see the comparison behind each step.
            drop(bench.bind(binding));
            model.bind(binding);
        }
        Operation::Unbind(binding) => {
            bench.unbind(binding).unwrap();
            model.remove(|other| other == binding);
        }
        Operation::UnbindExisting(number) => {
            let Some(binding) = nth_binding(&bench.now, *number) else { return };
            bench.unbind(&binding).unwrap();
            model.remove(|other| *other == binding);
        }
        Operation::Route { exchange, keys, head, seed } => {
            let found = route(&bench.now, exchange, keys, head, *seed).ok();
            let found = found.map(|(targets, _)| targets.queues().to_vec());
            assert_eq!(found, model.route(exchange, keys, head, *seed));
        }
    }
}

fn compare_content(topology: &Topology, model: &Model) {
    let mut exchanges: Vec<_> = model.exchanges.iter().map(|(name, ..)| name.as_str()).collect();
    exchanges.sort_unstable();
    assert_eq!(topology.exchanges().map(|it| &**it.name()).collect::<Vec<_>>(), exchanges);
    let queues: Vec<_> = topology.queues().map(|it| (&**it.name(), it.id())).collect();
    assert_eq!(queues, model.queues.iter().map(|(name, id)| (name.as_str(), *id)).collect::<Vec<_>>());
    let text = |binding: Binding| format!("{binding:?}");
    let mut bindings: Vec<_> = topology.bindings().map(|it| text(it.to_binding())).collect();
    let mut expected: Vec<_> =
        model.exchanges.iter().flat_map(|(.., all)| all.iter().cloned().map(text)).collect();
    bindings.sort();
    expected.sort();
    assert_eq!(bindings, expected);
    assert_eq!(topology.binding_count(), expected.len());
    let to_queues: usize = topology.queues().map(|queue| topology.bindings_of(queue.name()).count()).sum();
    let expected = topology.bindings().filter(|it| matches!(it.target, crate::router::Target::Queue(_)));
    assert_eq!(to_queues, expected.count());
}

/// The indices hold what a look through everything finds, and nothing that is gone.
fn check_indices(topology: &Topology) {
    let mut incoming = BTreeMap::new();
    for exchange in topology.exchanges() {
        for binding in &exchange.bindings {
            *incoming.entry((binding.target.clone(), exchange.name().to_string())).or_insert(0) += 1;
        }
    }
    let held = topology.incoming.iter();
    assert!(
        held.map(|((target, source), count)| ((target.clone(), source.to_string()), *count)).eq(incoming)
    );
    let alternates = topology.exchanges().filter_map(|it| Some((it.alternate()?, &**it.name())));
    let alternates: std::collections::BTreeSet<_> = alternates.collect();
    assert!(topology.alternates.iter().map(|(alternate, name)| (&**alternate, &**name)).eq(alternates));
}

/// Answers kept from one step to the next, wherever they may be.
fn keep(topology: &Topology) -> Vec<(&'static str, &'static str, RouteMemo, Targets)> {
    let mut kept = Vec::new();
    for exchange in Operation::EXCHANGES {
        for key in ["", "a", "a.b", "*", "1"] {
            if let Ok((targets, Routed { memo: Some(memo) })) = route(topology, exchange, &[key], "", 0) {
                kept.push((exchange, key, memo, targets));
            }
        }
    }
    kept
}

proptest! {
    #[test]
    fn any_sequence_of_operations_is_as_the_model_says(operations in operations(60)) {
        let (mut bench, mut model) = (Bench::new(), Model::new());
        for operation in &operations {
            let kept = keep(&bench.now);
            step(&mut bench, &mut model, operation);
            compare_content(&bench.now, &model);
            check_indices(&bench.now);
            for (exchange, key, mut memo, targets) in kept {
                if bench.now.memo_valid(exchange, key, &mut memo) {
                    // Any head and seed: what is kept must not depend on them.
                    let now = route(&bench.now, exchange, &[key], "a=1,b=x", 99).map(|(targets, _)| targets);
                    prop_assert_eq!(now, Ok(targets), "kept for {} {:?} over {:?}", exchange, key, operation);
                }
            }
        }
    }

    #[test]
    fn the_trie_matches_as_the_definition_says(
        patterns in proptest::collection::vec("([ab*#](\\.[ab*#]){0,5})?", 1..40),
        keys in proptest::collection::vec("([ab](\\.[ab]){0,6})?", 1..20),
        removed in any::<prop::sample::Index>(),
    ) {
        let mut bench = Bench::new();
        let mut queues = BTreeMap::new();
        for (number, pattern) in patterns.iter().enumerate() {
            let name = format!("q{number}");
            queues.insert(bench.queue(&name), pattern);
            bench.bind(&to_queue("amq.topic", &name, pattern)).unwrap();
        }
        for rest in 0..2 {
            for key in &keys {
                let (found, _) = route(&bench.now, "amq.topic", &[key], "", 0).unwrap();
                let all = queues.iter().filter(|(_, pattern)| topic_matches(pattern, key)).map(|(id, _)| *id);
                prop_assert_eq!(found.queues(), all.collect::<Vec<_>>(), "key {:?}, round {}", key, rest);
            }
            let number = removed.index(patterns.len());
            bench.unbind(&to_queue("amq.topic", &format!("q{number}"), &patterns[number])).unwrap();
            queues.remove(&QueueId(number as u64 + 1));
        }
    }
}
