//! The HTTP API of a running broker, as the commands use it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Where a broker of this machine listens unless it is told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:15672";
/// A broker that takes longer to answer is given up.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const ANSWER_BYTES: u64 = 1 << 30;

/// Why the broker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// No answer, or none that HTTP knows.
    #[error("{url}: {source}; is a broker running there, and --url its HTTP address?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: ureq::Error,
    },
    /// The broker refused.
    #[error("{url}: {status}: {reason}")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: StatusCode,
        /// In the broker's words.
        reason: String,
    },
    /// The answer is not what the API gives.
    #[error("{url}: the answer is not the JSON of a broker's API: {reason}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// One segment of an address: `/` is a name here, not a border.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The API of one broker.
pub struct Api {
    agent: Agent,
    base: String,
}

impl Api {
    /// At that URL: `http://` may be left out of it, and an empty one counts as not given.
    pub fn new(url: &str) -> Api {
        let url = match url.trim_end_matches('/') {
            "" => DEFAULT_URL.to_owned(),
            url if url.contains("://") => url.to_owned(),
            address => format!("http://{address}"),
        };
        let config =
            Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
        Api { agent: config.build().new_agent(), base: format!("{url}/api/") }
    }

    /// A list, or an object.
    ///
    /// # Errors
    /// See [`CtlError`].
    pub fn get(&self, path: &str) -> Result<Value, CtlError> {
        let url = format!("{}{path}", self.base);
        let answer = read(&url, accepted(&url, self.agent.get(&url).call())?)?;
        if answer.is_array() || answer.is_object() {
            return Ok(answer);
        }
        Err(CtlError::Unexpected { url, reason: "a list was expected".to_owned() })
    }

    /// What the broker says of it; null if nothing.
    ///
    /// # Errors
    /// See [`CtlError`].
    pub fn delete(&self, path: &str) -> Result<Value, CtlError> {
        let url = format!("{}{path}", self.base);
        let answer = accepted(&url, self.agent.delete(&url).call())?;
        if answer.status() == StatusCode::NO_CONTENT { Ok(Value::Null) } else { read(&url, answer) }
    }

    /// Have something done; what the broker says of it.
    ///
    /// # Errors
    /// See [`CtlError`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CtlError> {
        let url = format!("{}{path}", self.base);
        let sent = self.agent.post(&url).header("content-type", "application/json").send(body.to_string());
        read(&url, accepted(&url, sent)?)
    }

    /// The answer is none of the API's.
    pub fn unexpected(&self, reason: &str) -> CtlError {
        CtlError::Unexpected { url: self.base.clone(), reason: reason.to_owned() }
    }
}

/// The JSON of an answer.
fn read(url: &str, mut answer: Response<Body>) -> Result<Value, CtlError> {
    let unexpected = |reason: String| CtlError::Unexpected { url: url.to_owned(), reason };
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_string();
    let text = text.map_err(|error| unexpected(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unexpected(error.to_string()))
}

/// The answer, if the broker did what was asked.
fn accepted(url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, CtlError> {
    let mut answer = answer.map_err(|source| CtlError::Unreachable { url: url.to_owned(), source })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
    let told = serde_json::from_str::<Value>(&text).ok();
    let reason = told.and_then(|told| told["reason"].as_str().map(str::to_owned)).unwrap_or(text);
    Err(CtlError::Refused { url: url.to_owned(), status, reason })
}

#[cfg(test)]
mod tests {
    use super::Api;

    #[test]
    fn an_address_without_a_scheme_is_of_http_and_an_empty_one_is_not_given() {
        for (url, base) in [
            ("", "http://127.0.0.1:15672/api/"),
            ("/", "http://127.0.0.1:15672/api/"),
            ("broker:8080", "http://broker:8080/api/"),
            ("[::1]:15672/", "http://[::1]:15672/api/"),
            ("http://broker/", "http://broker/api/"),
            ("https://broker", "https://broker/api/"),
        ] {
            assert_eq!(Api::new(url).base, base, "{url}");
        }
    }
}
