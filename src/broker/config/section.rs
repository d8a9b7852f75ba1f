//! Typed reading of a tree: every fault is collected, every key that nobody asked for is unknown, and every
//! value that was read is remembered in one form, so that two configurations can be compared.
//!
//! Flow: [`Reading::read`] walks the root [`Section`]; sections give typed values, deeper sections and
//! items; in the end there are [`Effective`] values or [`Problem`]s. After a fault the walk goes on with
//! some value, since nothing of the result is used then.

use super::node::{Entry, Node, Value};
use super::problem::{ConfigError, Place, Problem};
use super::values::{Parsed, Secret, unexpected};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Names less alike than this (0 to 1) are not suggested.
const ALIKE: f64 = 0.7;

/// Values that are in force, by the path of their key.
pub type Effective = BTreeMap<String, Shown>;

/// A value in the form in which it is compared, and in that in which it is shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// As it is.
    Plain {
        /// What was read: two ways to write the same are the same.
        read: String,
        /// As it was written.
        written: String,
    },
    /// Compared, but not shown.
    Secret(Secret),
}

impl Shown {
    fn plain(value: &impl Debug, node: &Node) -> Shown {
        Shown::Plain { read: format!("{value:?}"), written: node.value.to_string() }
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Shown) -> bool {
        match (self, other) {
            (Shown::Plain { read, .. }, Shown::Plain { read: other, .. }) => read == other,
            (Shown::Secret(secret), Shown::Secret(other)) => secret == other,
            (Shown::Plain { .. }, Shown::Secret(_)) | (Shown::Secret(_), Shown::Plain { .. }) => false,
        }
    }
}

impl Eq for Shown {}

/// What is collected on a walk.
#[derive(Default)]
pub struct Reading {
    problems: RefCell<Vec<Problem>>,
    effective: RefCell<Effective>,
}

impl Reading {
    /// Walks the tree with `read`.
    ///
    /// # Errors
    /// All problems, in the order of the text.
    pub fn read<T>(root: &Node, read: impl FnOnce(&Section) -> T) -> Result<(T, Effective), ConfigError> {
        let reading = Reading::default();
        let value = reading.walk(root, String::new(), String::new(), read);
        match reading.problems.into_inner() {
            problems if problems.is_empty() => Ok((value, reading.effective.into_inner())),
            mut problems => {
                problems.sort_by(|left, right| left.place.cmp(&right.place));
                Err(ConfigError { problems })
            }
        }
    }

    fn walk<T>(&self, node: &Node, path: String, label: String, read: impl FnOnce(&Section) -> T) -> T {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                self.problem(&node.place, &path, unexpected(other, "a mapping of keys to values"));
                &[]
            }
        };
        let (asked, missing) = (RefCell::default(), RefCell::default());
        let is_mapping = matches!(node.value, Value::Map(_) | Value::Null);
        let place = &node.place;
        let section = Section { reading: self, is_mapping, entries, place, path, label, asked, missing };
        let value = read(&section);
        section.report_unknown_keys();
        value
    }

    fn problem(&self, place: &Place, key: &str, message: String) {
        let problem = Problem { place: place.clone(), key: key.to_owned(), message };
        self.problems.borrow_mut().push(problem);
    }
}

/// A mapping that is being read.
pub struct Section<'a> {
    reading: &'a Reading,
    /// Else that has been reported, and nothing that is missing for it need be.
    is_mapping: bool,
    entries: &'a [Entry],
    place: &'a Place,
    /// With an item's index, for messages.
    path: String,
    /// With an item's name, for comparisons: items have no fixed place.
    label: String,
    asked: RefCell<Vec<&'static str>>,
    /// What is wrong with keys that are absent; one that was only written wrongly is not reported twice.
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl Section<'_> {
    /// A value that may be absent.
    pub fn optional<T: Debug>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        self.parsed(key, parse, Shown::plain)
    }

    /// A value that must be there.
    pub fn required<T: Debug + Default>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> T {
        self.report_if_missing(key, &parse);
        self.optional(key, parse).unwrap_or_default()
    }

    /// A secret that must be there.
    pub fn required_secret(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<Secret>) -> Secret {
        self.report_if_missing(key, &parse);
        self.parsed(key, parse, |secret, _| Shown::Secret(secret.clone())).unwrap_or_default()
    }

    /// A deeper mapping.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section) -> T) -> T {
        let absent = Node { place: self.place.clone(), value: Value::Null };
        let node = self.node(key).unwrap_or(&absent);
        self.reading.walk(node, join(&self.path, key), join(&self.label, key), read)
    }

    /// A sequence of mappings. `identify` names the keys by which an item is known in comparisons.
    pub fn items<T>(&self, key: &'static str, identify: &[&str], read: impl Fn(&Section) -> T) -> Vec<T> {
        let items = self.list(key);
        let walk_item = |(index, node): (usize, &Node)| {
            let path = format!("{}[{index}]", join(&self.path, key));
            let label = format!("{}[{}]", join(&self.label, key), identity(node, identify));
            self.reading.walk(node, path, label, &read)
        };
        items.iter().enumerate().map(walk_item).collect()
    }

    /// A sequence of values.
    pub fn values<T: Debug>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Vec<T> {
        let path = join(&self.path, key);
        let mut values = Vec::new();
        for (index, node) in self.list(key).iter().enumerate() {
            match parse(&node.value) {
                Ok(value) => values.push(value),
                Err(message) => self.reading.problem(&node.place, &format!("{path}[{index}]"), message),
            }
        }
        if let Some(node) = self.node(key) {
            self.remember(key, Shown::plain(&values, node));
        }
        values
    }

    /// A mapping whose keys are the user's own, each parsed by its name; absent is empty. `None` if something in it is
    /// wrong.
    pub fn free<T: Debug>(
        &self,
        key: &'static str,
        parse: impl Fn(&str, &Value) -> Parsed<T>,
    ) -> Option<Vec<(String, T)>> {
        let Some(node) = self.node(key) else { return Some(Vec::new()) };
        let path = join(&self.path, key);
        let Value::Map(entries) = &node.value else {
            self.reading.problem(&node.place, &path, unexpected(&node.value, "a mapping"));
            return None;
        };
        let mut values = Vec::new();
        for entry in entries {
            match parse(&entry.key, &entry.node.value) {
                Ok(value) => values.push((entry.key.clone(), value)),
                Err(message) => self.reading.problem(&entry.node.place, &join(&path, &entry.key), message),
            }
        }
        self.remember(key, Shown::plain(&values, node));
        (values.len() == entries.len()).then_some(values)
    }

    /// Whether nothing at all is given. What is no mapping counts as given: it has been reported.
    pub fn is_empty(&self) -> bool {
        self.is_mapping && self.entries.is_empty()
    }

    /// Whether a value is given, right or wrong.
    pub fn has(&self, key: &'static str) -> bool {
        self.node(key).is_some()
    }

    /// Whether all keys that are given are among these.
    pub fn has_only(&self, known: &[&str]) -> bool {
        self.entries.iter().all(|entry| known.contains(&entry.key.as_str()))
    }

    /// Whether all keys that are given have been asked for by now.
    pub fn has_only_asked(&self) -> bool {
        self.has_only(&self.asked.borrow())
    }

    /// Reports what is wrong with the value of `key`, or with the section when it is absent.
    pub fn fault(&self, key: &'static str, message: impl Into<String>) {
        if !self.is_mapping {
            return;
        }
        match self.node(key) {
            Some(node) => self.reading.problem(&node.place, &join(&self.path, key), message.into()),
            None => self.missing.borrow_mut().push((key, message.into())),
        }
    }

    /// Reports that the values of two keys do not go together, at the one that is not a default.
    pub fn conflict(&self, keys: [&'static str; 2], message: impl Into<String>) {
        let said = |key: &&&'static str| self.node(key).is_some_and(|node| node.place != Place::BuiltIn);
        let key = keys.iter().find(said).unwrap_or(&keys[0]);
        self.fault(key, message);
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&Value) -> Parsed<T>,
        show: impl Fn(&T, &Node) -> Shown,
    ) -> Option<T> {
        let node = self.node(key)?;
        match parse(&node.value) {
            Ok(value) => {
                self.remember(key, show(&value, node));
                Some(value)
            }
            Err(message) => {
                self.reading.problem(&node.place, &join(&self.path, key), message);
                None
            }
        }
    }

    fn list(&self, key: &'static str) -> &[Node] {
        match self.node(key).map(|node| (node, &node.value)) {
            None => &[],
            Some((_, Value::List(items))) => items,
            Some((node, other)) => {
                self.reading.problem(&node.place, &join(&self.path, key), unexpected(other, "a sequence"));
                &[]
            }
        }
    }

    fn node(&self, key: &'static str) -> Option<&Node> {
        self.asked.borrow_mut().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (entry.node.value != Value::Null).then_some(&entry.node)
    }

    fn remember(&self, key: &str, shown: Shown) {
        self.reading.effective.borrow_mut().insert(join(&self.label, key), shown);
    }

    /// What a parser says of nothing tells what was expected.
    fn report_if_missing<T>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) {
        if self.node(key).is_none()
            && let Err(message) = parse(&Value::Null)
        {
            self.fault(key, message);
        }
    }

    fn report_unknown_keys(&self) {
        let asked = self.asked.borrow();
        let mut meant = Vec::new();
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let message = match nearest(&entry.key, &asked) {
                Some(known) => {
                    meant.push(known);
                    format!("unknown key; did you mean \"{known}\"?")
                }
                None => format!("unknown key, expected {}", any_of(&asked)),
            };
            self.reading.problem(&entry.place, &join(&self.path, &entry.key), message);
        }
        for (key, message) in self.missing.take() {
            if !meant.contains(&key) {
                self.reading.problem(self.place, &join(&self.path, key), message);
            }
        }
    }
}

/// The most alike of the known names, if one is alike at all.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike = known.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    let (likeness, known) = alike.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (likeness >= ALIKE).then_some(known)
}

fn any_of(known: &[&str]) -> String {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    format!("one of {}", known.join(", "))
}

fn identity(node: &Node, keys: &[&str]) -> String {
    let Value::Map(entries) = &node.value else { return String::new() };
    let text = |key: &&str| {
        let entry = entries.iter().find(|entry| entry.key == **key)?;
        match &entry.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    };
    keys.iter().filter_map(text).collect::<Vec<_>>().join(" ")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
