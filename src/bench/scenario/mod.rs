//! The scenarios: what each does, and what its main figure is.

mod disk_limit;
mod flow;
mod idle;
mod large;
mod large_restart;
mod latency;
mod objects;
mod persistent;
mod restart;
mod start;
mod stored;
mod unacked_pin;
mod watch;

use crate::error::Error;
use crate::measure::{Metric, Sample};
use crate::settings::Settings;
use crate::target::{Source, Target};
use watch::{interruptible, within};

/// Something that can be measured.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// One line for `list`.
    pub summary: &'static str,
    /// The figure that targets are compared by.
    pub main: Metric,
    work: Work,
}

/// How a scenario is run.
#[derive(Clone, Copy, Debug)]
enum Work {
    Flow(flow::Shape),
    Persistent(persistent::Shape),
    Latency,
    Idle(idle::What),
    Stored { body_size: usize, share: u32 },
    Start,
    Large { queues: usize },
    Restart(AfterRestart),
}

/// What is measured of a Fairlead that is killed and started again.
#[derive(Clone, Copy, Debug)]
enum AfterRestart {
    Backlog,
    Large,
    Pinned,
}

const fn persistent(publishers: usize, window: usize) -> Work {
    Work::Persistent(persistent::Shape { publishers, window, quorum: false })
}

const fn quorum(publishers: usize, window: usize) -> Work {
    Work::Persistent(persistent::Shape { publishers, window, quorum: true })
}

macro_rules! scenarios {
    ($($name:literal, $main:ident, $work:expr, $summary:literal;)*) => {
        /// All scenarios, in the order of their run.
        pub const ALL: &[Scenario] = &[$(Scenario {
            name: $name,
            summary: $summary,
            main: Metric::$main,
            work: $work,
        }),*];
    };
}

// Memory comes first: a broker that has carried load holds memory that would hide what is measured.
scenarios! {
    "start", StartMilliseconds, Work::Start, "start of the program to its ready line; memory when empty (--binary only)";
    "idle-connections", BytesEach, Work::Idle(idle::What::Connections), "10,000 connections with one channel: bytes each";
    "idle-queues", BytesEach, Work::Idle(idle::What::Queues), "10,000 queues never used: bytes each";
    "queued-messages", BytesEach, Work::Stored { body_size: 16, share: 1 }, "1,000,000 queued messages of 16 B: bytes each";
    "backlog", BytesEach, Work::Stored { body_size: 1024, share: 2 }, "memory while a backlog of 500,000 messages of 1 KB grows";
    "1x1-16b", MessagesPerSecond, Work::Flow(flow::Shape::pairs(1, 16)), "1 publisher, 1 queue, 1 consumer, 16 B";
    "1x1-256b", MessagesPerSecond, Work::Flow(flow::Shape::pairs(1, 256)), "the same, 256 B";
    "1x1-1kb", MessagesPerSecond, Work::Flow(flow::Shape::pairs(1, 1024)), "the same, 1 KB (1,024 B)";
    "1x1-64kb", MessagesPerSecond, Work::Flow(flow::Shape::pairs(1, 65_536)), "the same, 64 KB (65,536 B)";
    "10x10-16b", MessagesPerSecond, Work::Flow(flow::Shape::pairs(10, 16)), "10 publishers, 10 queues, 10 consumers, 16 B";
    "fan-out-10", MessagesPerSecond, Work::Flow(flow::Shape::fan_out(10, 16)), "1 publisher, fanout to 10 queues and consumers, 16 B; messages out";
    "topic-10000", MessagesPerSecond, Work::Flow(flow::Shape::topic(10_000, 16)), "topic exchange with 10,000 bindings, 1,000 keys in turn, 16 B";
    "fairness-queues", SlowestShare, Work::Flow(flow::Shape::pairs(10, 16)), "ten equal publishers and consumers: slowest consumer by fastest";
    "fairness-shared", SlowestShare, Work::Flow(flow::Shape::shared(10, 16)), "ten equal consumers of one queue: slowest by fastest";
    "persistent-1", MessagesPerSecond, persistent(1, 1), "persistent 1 KB to a durable queue, each confirm awaited; share of the disk's limit";
    "persistent-100", MessagesPerSecond, persistent(1, 100), "the same, 100 unconfirmed";
    "persistent-1000", MessagesPerSecond, persistent(1, 1000), "the same, 1,000 unconfirmed";
    "persistent-10x10", MessagesPerSecond, persistent(10, 1000), "the same, ten publishers to ten queues";
    "persistent-1-quorum", MessagesPerSecond, quorum(1, 1), "persistent-1 where peers have a quorum queue (only when named)";
    "persistent-100-quorum", MessagesPerSecond, quorum(1, 100), "the same, 100 unconfirmed";
    "persistent-1000-quorum", MessagesPerSecond, quorum(1, 1000), "the same, 1,000 unconfirmed";
    "persistent-10x10-quorum", MessagesPerSecond, quorum(10, 1000), "the same, ten publishers to ten queues";
    "latency", LatencyP99, Work::Latency, "publish to delivery at a fixed 20,000 messages/s of 16 B";
    "large-message", BodyCopies, Work::Large { queues: 1 }, "a message of 1 GiB in and out (only when named: brokers' limits are lower)";
    "large-message-10", BodyCopies, Work::Large { queues: 10 }, "the same to ten queues";
    "restart", StartMilliseconds, Work::Restart(AfterRestart::Backlog), "1,000,000 persistent of 1 KB, SIGKILL, start, drain (only when named; --binary only)";
    "large-restart", StartMilliseconds, Work::Restart(AfterRestart::Large), "a persistent message of 1 GiB, SIGKILL, start, delivered unchanged (the same)";
    "unacked-pin", DiskPeak, Work::Restart(AfterRestart::Pinned), "disk use while 2 GiB pass one unacknowledged message (the same)";
}

/// Where measurements stand, for a progress display.
pub type Report<'a> = &'a dyn Fn(&str);

impl Scenario {
    /// The scenarios that `wanted` names, in order: by name, or by the beginning of a name. All usual ones if it is empty.
    pub fn select(wanted: &[String]) -> Result<Vec<&'static Scenario>, Error> {
        if wanted.is_empty() {
            return Ok(ALL.iter().filter(|scenario| scenario.usual()).collect());
        }
        let matches = |word: &str, scenario: &Scenario| match ALL.iter().any(|s| s.name == word) {
            true => scenario.name == word,
            false => scenario.name.starts_with(word),
        };
        if let Some(unknown) = wanted.iter().find(|word| !ALL.iter().any(|scenario| matches(word, scenario)))
        {
            let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
            return Err(Error::Usage(format!("no scenario `{unknown}`; there are {}", names.join(", "))));
        }
        Ok(ALL.iter().filter(|scenario| wanted.iter().any(|word| matches(word, scenario))).collect())
    }

    /// Whether it is run where none is named.
    fn usual(&self) -> bool {
        match self.work {
            Work::Persistent(shape) => !shape.quorum,
            Work::Large { .. } | Work::Restart(_) => false,
            Work::Flow(_) | Work::Latency | Work::Idle(_) | Work::Stored { .. } | Work::Start => true,
        }
    }

    /// Whether it can be run against such a target.
    pub fn suits(&self, source: &Source) -> bool {
        match self.work {
            Work::Flow(shape) => shape.relayed() || !matches!(source, Source::Relay),
            Work::Latency => true,
            Work::Start | Work::Restart(_) => matches!(source, Source::Binary(_)),
            Work::Persistent(_) | Work::Idle(_) | Work::Stored { .. } | Work::Large { .. } => {
                !matches!(source, Source::Relay)
            }
        }
    }

    /// Whether a broker that is started for it is bound to its core: a start is measured as users have it.
    pub fn pinned(&self) -> bool {
        !matches!(self.work, Work::Start | Work::Restart(_))
    }

    /// Whether it wants a broker that has done nothing before, where one can be started.
    pub fn wants_fresh(&self) -> bool {
        match self.work {
            Work::Idle(_) | Work::Stored { .. } | Work::Start | Work::Large { .. } | Work::Restart(_) => true,
            Work::Flow(_) | Work::Persistent(_) | Work::Latency => false,
        }
    }

    /// What a Fairlead that is started for it must be configured with, beside its defaults.
    pub fn configuration(&self, settings: &Settings) -> Option<String> {
        match self.work {
            Work::Large { .. } | Work::Restart(AfterRestart::Large) => {
                let size = settings.large_size;
                // Room for a head.
                let incomplete = size + (1 << 20);
                Some(format!("limits:\n  message_size: {size}\n  incomplete_message_bytes: {incomplete}\n"))
            }
            _ => None,
        }
    }

    /// How often it is run: what fills memory is measured once, since only the first time counts.
    pub fn rounds(&self, settings: &Settings) -> u32 {
        match self.work {
            Work::Idle(_) | Work::Stored { .. } | Work::Large { .. } | Work::Restart(_) => 1,
            Work::Flow(_) | Work::Persistent(_) | Work::Latency | Work::Start => settings.rounds,
        }
    }

    /// Runs one round. What it declares on the broker is removed again, also when it fails.
    pub async fn run(
        &self,
        target: &mut Target,
        settings: &Settings,
        report: Report<'_>,
    ) -> Result<Sample, Error> {
        match self.work {
            Work::Flow(shape) => flow::run(shape, target, settings, report).await,
            Work::Persistent(shape) => persistent::run(shape, target, settings, report).await,
            Work::Latency => latency::run(target, settings, report).await,
            Work::Idle(what) => idle::run(what, target, settings, report).await,
            Work::Stored { body_size, share } => {
                stored::run(body_size, settings.messages / share, target, report).await
            }
            Work::Start => start::run(target),
            Work::Large { queues } => large::run(queues, settings.large_size, target, report).await,
            Work::Restart(what) => {
                let name = target.name.clone();
                let work = async {
                    match what {
                        AfterRestart::Backlog => restart::run(target, settings, report).await,
                        AfterRestart::Large => large_restart::run(target, settings, report).await,
                        AfterRestart::Pinned => unacked_pin::run(target, settings, report).await,
                    }
                };
                interruptible(within(settings.at_most, &name, work)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str]) -> Vec<&'static str> {
        let wanted: Vec<_> = wanted.iter().map(|word| (*word).to_owned()).collect();
        Scenario::select(&wanted).unwrap().iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn scenarios_are_selected_by_name_or_its_beginning() {
        assert_eq!(names(&["1x1-1kb"]), ["1x1-1kb"]);
        assert_eq!(names(&["latency", "1x1"]), ["1x1-16b", "1x1-256b", "1x1-1kb", "1x1-64kb", "latency"]);
        assert_eq!(names(&["persistent-1"]), ["persistent-1"], "a whole name is no beginning");
        for unusual in ["large-message", "restart", "persistent-1-quorum"] {
            assert!(!names(&[]).contains(&unusual), "{unusual}");
        }
        let unknown = Scenario::select(&["1x2".to_owned()]).unwrap_err();
        assert!(unknown.to_string().contains("`1x2`"), "{unknown}");
    }
}
