//! Log lines: text or JSON on standard error.
//!
//! A line of text is `TIME LEVEL message name=value ...`, with the module only from debug on; the lines of
//! the start are plain, so that they can be searched for.

use crate::config::{LogFormat, Logging};
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// A text that is neither a level nor a list of levels by module.
#[derive(Debug, thiserror::Error)]
pub enum BadFilter {
    /// A word alone, and no level. tracing would take it for a module and log nothing else.
    #[error("{0:?} is not a level")]
    NotALevel(String),
    /// As tracing sees it.
    #[error(transparent)]
    Directive(#[from] ParseError),
}

/// What `level` lets through.
///
/// # Errors
/// It is neither a level nor a list of levels by module.
pub fn filter(level: &str) -> Result<EnvFilter, BadFilter> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let mut words = level.split(',').map(str::trim);
    match words.find(|word| !word.contains(['=', '[']) && !is_level(word)) {
        Some(word) => Err(BadFilter::NotALevel(word.to_owned())),
        None => Ok(EnvFilter::builder().parse(level)?),
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The level.
    #[error(transparent)]
    Filter(#[from] BadFilter),
    /// The process has a subscriber already.
    #[error(transparent)]
    Subscriber(#[from] TryInitError),
}

/// What is logged while the process runs.
#[derive(Clone, Debug)]
pub struct Levels(reload::Handle<EnvFilter, Registry>);

impl Levels {
    /// From here on, log what `level` lets through.
    ///
    /// # Errors
    /// It is none; nothing has changed.
    pub fn set(&self, level: &str) -> Result<(), BadFilter> {
        let filter = filter(level)?;
        // Fails only when the subscriber is gone: then nothing is logged anyway.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

/// From here on, log as `logging` says.
///
/// # Errors
/// The level is none, or the process has a subscriber already.
pub fn start(logging: &Logging) -> Result<Levels, StartError> {
    let colours = logging.format == LogFormat::Auto && io::stderr().is_terminal();
    let (filter, handle) = reload::Layer::new(filter(&logging.level)?);
    let lines = lines(logging.format, colours, io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Levels(handle))
}

/// An error of the start, which is told whatever the level is: a process must not end without a word.
pub fn tell_end(error: &impl std::fmt::Display) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("cannot start: {error}");
    } else {
        eprintln!("error: cannot start: {error}");
    }
}

/// The layer that writes lines to `writer`.
fn lines<W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<Layered> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Auto | LogFormat::Text => lines.with_target(false).boxed(),
    }
}

type Layered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::subscriber::with_default;

    /// The lines that one event makes.
    fn logged(format: LogFormat, level: &str) -> String {
        logged_after(format, level, |_| {})
    }

    /// The same, when `change` has had its way with the levels.
    fn logged_after(format: LogFormat, level: &str, change: impl FnOnce(&Levels)) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let written = written.clone();
            move || Sink(written.clone())
        };
        let (filter, handle) = reload::Layer::new(filter(level).unwrap());
        let subscriber = tracing_subscriber::registry().with(filter).with(lines(format, false, writer));
        with_default(subscriber, || {
            change(&Levels(handle));
            tracing::info!(port = 5672, "Listening");
            tracing::debug!("hidden");
        });
        let written = written.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_is_plain_and_json_is_an_object() {
        let text = logged(LogFormat::Auto, "info");
        assert!(text.ends_with(" INFO Listening port=5672\n"), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, "info")).unwrap();
        assert_eq!(
            (&json["message"], &json["port"], &json["level"]),
            (&"Listening".into(), &5672.into(), &"INFO".into())
        );
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let after = |level| logged_after(LogFormat::Text, "info", |levels| drop(levels.set(level)));
        assert_eq!((after("error").lines().count(), after("debug").lines().count()), (0, 2));
        assert_eq!(after("loud").lines().count(), 1, "what is no level changes nothing");
    }

    #[test]
    fn levels_are_by_module_too() {
        assert_eq!(logged(LogFormat::Text, "warn"), "");
        assert_eq!(logged(LogFormat::Text, "info,fairlead=debug").lines().count(), 2);
        for wrong in ["loud", "", "info,fairlead", "fairlead=loud"] {
            assert!(filter(wrong).is_err(), "{wrong:?}");
        }
    }
}
