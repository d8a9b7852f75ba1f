//! `fairlead-sim`: runs seeds, or one of them with its trace.

use clap::Parser;
use fairlead_sim::{Bug, Seed, Summary, run};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Run the engine's simulation.
#[derive(Parser)]
#[command(name = "fairlead-sim")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Print what happens, line by line.
    #[arg(long)]
    trace: bool,
    /// Run each seed twice and demand the same.
    #[arg(long)]
    twice: bool,
    /// Put a bug in, by its name in src/sim/bug.rs.
    #[arg(long, value_parser = bug_of, default_value = "None")]
    bug: Bug,
    /// Go on after a seed that fails.
    #[arg(long)]
    all: bool,
}

fn bug_of(name: &str) -> Result<Bug, String> {
    let named = |bug: &Bug| format!("{bug:?}") == name;
    let unknown = || format!("expected None, or one of {:?}", Bug::ALL);
    Bug::ALL.into_iter().chain([Bug::None]).find(named).ok_or_else(unknown)
}

/// The seed that is running, for the line that a panic writes.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// One seed; what is wrong with it.
fn try_seed(number: u64, arguments: &Arguments, summary: &mut Summary) -> Result<(), String> {
    RUNNING.store(number, Ordering::Relaxed);
    let seed = Seed { number, bug: arguments.bug };
    let ran = run(seed, arguments.trace);
    ran.lines.iter().for_each(|line| println!("{line}"));
    summary.add(&ran.result.map_err(|violation| violation.to_string())?);
    if arguments.twice && run(seed, false).hash != ran.hash {
        return Err("it does not do the same again".to_owned());
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("seed {} panics; --seed {0} --trace shows what led to it", RUNNING.load(Ordering::Relaxed));
        before(panic);
    }));
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.seeds,
    };
    let (mut summary, mut failed) = (Summary::default(), 0);
    for number in seeds.clone() {
        if let Err(words) = try_seed(number, &arguments, &mut summary) {
            println!("seed {number} fails: {words}");
            failed += 1;
            if !arguments.all {
                println!("fairlead-sim --seed {number} --trace shows what led to it");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} seeds, {failed} failed: {summary:?}", seeds.end - seeds.start);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
