//! How long, how often and how much is measured: the command line's numbers.

use clap::Args;
use std::time::Duration;

/// The settings that all scenarios share.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Seconds that a flow runs before it is measured
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    pub warm_up: Duration,
    /// Seconds that a flow is measured
    #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
    pub duration: Duration,
    /// How often each scenario is run against each target; the medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Consume with acknowledgements instead of without; in persistent-*, where nobody consumes otherwise, empty the queues
    #[arg(long)]
    pub ack: bool,
    /// With --ack: deliveries that a consumer may have unacknowledged; it acknowledges each quarter
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(4..))]
    pub prefetch: u16,
    /// Messages between a publisher and its consumers at most [default: 8 MiB of bodies, 128 to 50,000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// Messages in a second in the latency scenario
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Connections in idle-connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Queues in idle-queues
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queues: u32,
    /// Messages in queued-messages; backlog stores half as many
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10..=100_000_000))]
    pub messages: u32,
    /// Bytes of the message in large-message, large-message-10 and large-restart
    #[arg(long, default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..=1 << 33))]
    pub large_size: u64,
    /// Messages that are stored in restart
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub restart_messages: u64,
    /// Bytes of each of them
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub restart_size: u32,
    /// Restart a second time, with nothing in the page cache: that of the whole machine is emptied where that is
    /// permitted, else the data folder's files are taken out of it
    #[arg(long)]
    pub cold: bool,
    /// Bytes of the messages that pass an unacknowledged one in unacked-pin
    #[arg(long, default_value_t = 2 << 30, value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 40))]
    pub pin_bytes: u64,
    /// Seconds that restart, large-restart and unacked-pin may take in all
    #[arg(long, default_value = "900", value_parser = seconds, value_name = "SECONDS")]
    pub at_most: Duration,
}

impl Settings {
    /// The window for bodies of that size, in messages.
    pub fn window_for(&self, body_size: usize) -> u64 {
        self.window.unwrap_or_else(|| ((8 << 20) / body_size.max(1) as u64).clamp(128, 50_000))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.0..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected 0 to 3600 seconds".to_owned())
    }
}
