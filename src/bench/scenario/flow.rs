//! Throughput: publishers, queues and consumers in several shapes, in a steady flow.

use super::Report;
use super::objects::{Objects, with_objects};
use crate::error::Error;
use crate::flow::{Acknowledge, Batches, Lane, Progress, consume, publish};
use crate::measure::{Metric, Sample, Stopwatch};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_client::{Connection, Consumer};
use std::rc::Rc;
use tokio::task::JoinSet;

/// Who publishes and consumes what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    routing: Routing,
    body_size: usize,
}

#[derive(Clone, Copy, Debug)]
enum Routing {
    /// So many times a publisher, a queue and a consumer of its own.
    Pairs(usize),
    /// One publisher, a fanout exchange, so many queues with a consumer each.
    FanOut(usize),
    /// One publisher, one queue, so many consumers.
    Shared(usize),
    /// One publisher, a topic exchange with so many bindings, ten queues, one consumer each.
    Topic(usize),
}

/// Queues of [`Routing::Topic`].
const TOPIC_QUEUES: usize = 10;

/// Routing keys that are used in turn with [`Routing::Topic`].
const TOPIC_KEYS: usize = 1_000;

impl Shape {
    /// `count` times a publisher, a queue and a consumer.
    pub const fn pairs(count: usize, body_size: usize) -> Self {
        Self { routing: Routing::Pairs(count), body_size }
    }

    /// One publisher to `count` queues with a consumer each.
    pub const fn fan_out(count: usize, body_size: usize) -> Self {
        Self { routing: Routing::FanOut(count), body_size }
    }

    /// `count` consumers of one queue.
    pub const fn shared(count: usize, body_size: usize) -> Self {
        Self { routing: Routing::Shared(count), body_size }
    }

    /// One publisher to a topic exchange with `bindings`.
    pub const fn topic(bindings: usize, body_size: usize) -> Self {
        Self { routing: Routing::Topic(bindings), body_size }
    }

    /// Whether the relay can do it: it neither routes nor distributes.
    pub const fn relayed(self) -> bool {
        matches!(self.routing, Routing::Pairs(_) | Routing::FanOut(_))
    }
}

/// One publisher with what it publishes, and the queues of its consumers.
struct Plan {
    exchange: String,
    keys: Vec<String>,
    queues: Vec<String>,
    progress: Progress,
}

/// Runs one round.
pub async fn run(
    shape: Shape,
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
) -> Result<Sample, Error> {
    with_objects(target, async |objects| {
        report("setting up");
        let mut control = target.connect(0).await?;
        let plans = declare(shape, &mut control, objects).await.map_err(|source| target.failed(source))?;
        let mut tasks = JoinSet::new();
        let mut lanes = Vec::new();
        for plan in &plans {
            lanes.push(start(plan, shape.body_size, target, settings, &mut tasks).await?);
        }
        measure(&lanes, target, settings, tasks, report).await
    })
    .await
}

async fn declare(
    shape: Shape,
    control: &mut Connection,
    objects: &mut Objects,
) -> Result<Vec<Plan>, fairlead_client::Error> {
    let plan = |exchange: &str, keys: Vec<String>, queues: Vec<String>, progress: Progress| Plan {
        exchange: exchange.to_owned(),
        keys,
        queues,
        progress,
    };
    match shape.routing {
        Routing::Pairs(count) => {
            let queues = objects.queues(control, count).await?;
            let each = |queue: String| plan("", vec![queue.clone()], vec![queue], Progress::Sum);
            Ok(queues.into_iter().map(each).collect())
        }
        Routing::FanOut(count) => {
            let queues = objects.queues(control, count).await?;
            let exchange = objects.exchange(control, "fanout").await?;
            for queue in &queues {
                control.bind(1, queue, &exchange, "").await?;
            }
            Ok(vec![plan(&exchange, vec![String::new()], queues, Progress::Slowest)])
        }
        Routing::Shared(count) => {
            let queues = objects.queues(control, 1).await?;
            let consumers = queues.iter().cycle().take(count).cloned().collect();
            Ok(vec![plan("", queues, consumers, Progress::Sum)])
        }
        Routing::Topic(bindings) => {
            let queues = objects.queues(control, TOPIC_QUEUES).await?;
            let exchange = objects.exchange(control, "topic").await?;
            for number in 0..bindings {
                // The keys that are used lie ten apart: they too are spread over all queues.
                let queue = &queues[number / TOPIC_QUEUES % TOPIC_QUEUES];
                control.bind_no_wait(1, queue, &exchange, &topic_pattern(number)).await?;
            }
            // The answer to this comes when all bindings are made.
            control.inspect_queue(1, &queues[0]).await?;
            let keys = (0..TOPIC_KEYS).map(|key| topic_key(key * bindings / TOPIC_KEYS)).collect();
            Ok(vec![plan(&exchange, keys, queues, Progress::Sum)])
        }
    }
}

/// Of each three bindings one is exact, one has a `*` and one a `#`; each matches one key of [`topic_key`].
fn topic_pattern(number: usize) -> String {
    match number % 3 {
        0 => topic_key(number),
        1 => format!("eu.*.{number:05}.price"),
        _ => format!("eu.stock.{number:05}.#"),
    }
}

fn topic_key(number: usize) -> String {
    format!("eu.stock.{number:05}.price")
}

/// Connects a lane's consumers, then its publisher, and starts them.
async fn start(
    plan: &Plan,
    body_size: usize,
    target: &Target,
    settings: &Settings,
    tasks: &mut JoinSet<fairlead_client::Error>,
) -> Result<Rc<Lane>, Error> {
    let lane = Lane::new(plan.queues.len(), plan.progress, settings.window_for(body_size));
    let acknowledge =
        if settings.ack { Acknowledge::Every(u64::from(settings.prefetch / 4)) } else { Acknowledge::Never };
    for (number, queue) in plan.queues.iter().enumerate() {
        let mut connection = target.connect(0).await?;
        let consumer = Consumer { queue, tag: "bench", no_ack: !settings.ack, exclusive: false };
        let started = async {
            if settings.ack {
                connection.qos(1, settings.prefetch).await?;
            }
            connection.consume(1, &consumer).await
        };
        started.await.map_err(|source| target.failed(source))?;
        let lane = Rc::clone(&lane);
        tasks.spawn_local(async move { ended(consume(&mut connection, &lane, number, acknowledge).await) });
    }
    let mut connection = target.connect(0).await?;
    let batches = Batches::new(&connection, &plan.exchange, &plan.keys, body_size);
    let publishing = Rc::clone(&lane);
    tasks.spawn_local(async move { ended(publish(&mut connection, &publishing, &batches).await) });
    Ok(lane)
}

/// Publishers and consumers go on until they are stopped: they can only end with an error.
fn ended(result: Result<(), fairlead_client::Error>) -> fairlead_client::Error {
    result.err().unwrap_or(fairlead_client::Error::EndOfStream("while messages flowed"))
}

async fn measure(
    lanes: &[Rc<Lane>],
    target: &Target,
    settings: &Settings,
    mut tasks: JoinSet<fairlead_client::Error>,
    report: Report<'_>,
) -> Result<Sample, Error> {
    let measured = async {
        report("warming up");
        tokio::time::sleep(settings.warm_up).await;
        report("measuring");
        let before = received(lanes);
        let stopwatch = Stopwatch::start(target.process)?;
        tokio::time::sleep(settings.duration).await;
        let counts: Vec<u64> =
            received(lanes).iter().zip(&before).map(|(after, before)| after - before).collect();
        let mut sample = Sample::default();
        stopwatch.finish(counts.iter().sum(), &mut sample)?;
        let most = counts.iter().copied().max().unwrap_or_default();
        if most == 0 {
            return Err(Error::Silence {
                target: target.name.clone(),
                seconds: settings.duration.as_secs_f64(),
            });
        }
        if counts.len() > 1 {
            let least = counts.iter().copied().min().unwrap_or_default();
            sample.put(Metric::SlowestShare, least as f64 / most as f64);
        }
        Ok(sample)
    };
    tokio::select! {
        sample = measured => sample,
        Some(ended) = tasks.join_next() => Err(match ended {
            Ok(error) => target.failed(error),
            Err(panic) => Error::System { action: "run a task".into(), source: std::io::Error::other(panic) },
        }),
    }
}

fn received(lanes: &[Rc<Lane>]) -> Vec<u64> {
    lanes.iter().flat_map(|lane| lane.received().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns_come_in_three_forms() {
        assert_eq!(topic_pattern(0), "eu.stock.00000.price");
        assert_eq!(topic_pattern(1), "eu.*.00001.price");
        assert_eq!(topic_pattern(2), "eu.stock.00002.#");
    }
}
