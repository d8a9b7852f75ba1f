//! Runs scenarios against targets, alternately, and collects what they found.

use crate::error::Error;
use crate::measure::{Sample, median};
use crate::progress::Progress;
use crate::report::value;
use crate::scenario::Scenario;
use crate::settings::Settings;
use crate::target::{Source, Target};

/// What one scenario found on one target.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The target's place among the sources.
    pub source: usize,
    /// The target's name.
    pub target: String,
    /// What was found, or why nothing was.
    pub outcome: Result<Rounds, String>,
}

/// The rounds of a row.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// Each round.
    pub samples: Vec<Sample>,
    /// Their medians.
    pub median: Sample,
}

/// Runs everything. Only an interruption, or a target that cannot be reached at all, ends it early.
pub struct Runner<'a> {
    /// The targets.
    pub sources: &'a [Source],
    /// What to run.
    pub scenarios: &'a [&'static Scenario],
    /// How.
    pub settings: &'a Settings,
    /// The brokers' core, if they are to be bound.
    pub core: Option<usize>,
}

impl Runner<'_> {
    /// Runs all scenarios, in each all rounds, in each round all targets.
    pub async fn run(&self) -> Result<Vec<Row>, Error> {
        let progress = Progress::new(self.steps());
        // What runs already is looked at before anything is measured; what is started, when it is first needed.
        let mut opened: Vec<Option<Target>> = Vec::new();
        for source in self.sources {
            let running = matches!(source, Source::Url(_));
            opened.push(if running { Some(source.open(self.core, None).await?) } else { None });
        }
        let mut rows = Vec::new();
        for scenario in self.scenarios {
            rows.extend(self.scenario(scenario, &mut opened, &progress).await?);
        }
        Ok(rows)
    }

    fn suited(&self, scenario: &Scenario) -> Vec<usize> {
        (0..self.sources.len()).filter(|index| scenario.suits(&self.sources[*index])).collect()
    }

    fn steps(&self) -> usize {
        let rounds =
            |scenario: &&Scenario| scenario.rounds(self.settings) as usize * self.suited(scenario).len();
        self.scenarios.iter().map(rounds).sum()
    }

    async fn scenario(
        &self,
        scenario: &'static Scenario,
        opened: &mut [Option<Target>],
        progress: &Progress,
    ) -> Result<Vec<Row>, Error> {
        let suited = self.suited(scenario);
        let mut found: Vec<(String, Result<Vec<Sample>, String>)> =
            suited.iter().map(|_| (String::new(), Ok(Vec::new()))).collect();
        let rounds = scenario.rounds(self.settings);
        for round in 0..rounds {
            // Every other round goes backwards: what the first leaves behind must not always meet the same.
            let order: Vec<usize> =
                if round % 2 == 0 { (0..suited.len()).collect() } else { (0..suited.len()).rev().collect() };
            for place in order {
                let (name, samples) = &mut found[place];
                if let Ok(taken) = samples {
                    progress.begin(format!("{} round {} of {rounds} {name}", scenario.name, round + 1));
                    match self.round(scenario, suited[place], opened, progress, name).await {
                        Ok(sample) => taken.push(sample),
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => *samples = Err(error.to_string()),
                    }
                }
                progress.end();
            }
        }
        let rows = suited.iter().zip(found).map(|(source, (target, samples))| {
            let outcome = samples.map(|samples| Rounds { median: median(&samples), samples });
            Row { scenario, source: *source, target, outcome }
        });
        let rows: Vec<Row> = rows.collect();
        rows.iter().for_each(|row| say(row, progress));
        Ok(rows)
    }

    async fn round(
        &self,
        scenario: &Scenario,
        source: usize,
        opened: &mut [Option<Target>],
        progress: &Progress,
        name: &mut String,
    ) -> Result<Sample, Error> {
        let mut fresh;
        let startable = matches!(self.sources[source], Source::Binary(_));
        let target = if startable && scenario.wants_fresh() {
            let core = self.core.filter(|_| scenario.pinned());
            let configuration = scenario.configuration(self.settings);
            fresh = self.sources[source].open(core, configuration.as_deref()).await?;
            &mut fresh
        } else {
            if opened[source].is_none() {
                opened[source] = Some(self.sources[source].open(self.core, None).await?);
            }
            opened[source].as_mut().ok_or_else(|| Error::Usage("no target".to_owned()))?
        };
        target.name.clone_into(name);
        scenario.run(target, self.settings, &|detail| progress.detail(detail)).await
    }
}

fn say(row: &Row, progress: &Progress) {
    let result = match &row.outcome {
        Ok(rounds) => value::main(row.scenario, &rounds.median),
        Err(error) => format!("failed: {error}"),
    };
    progress.say(&format!("{:<20} {:<20} {result}", row.scenario.name, row.target));
}
