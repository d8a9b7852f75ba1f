//! Where a broker is and who asks: `amqp://user:password@host:port/vhost`.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;

/// The port that brokers listen on for AMQP without TLS.
pub const DEFAULT_PORT: u16 = 5672;

/// A broker's address with credentials. What the URL leaves out is `guest`, `guest`, port 5672 and vhost `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User for SASL PLAIN.
    pub user: String,
    /// Password for SASL PLAIN.
    pub password: String,
    /// Virtual host.
    pub vhost: String,
}

/// Why a text is no broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `amqp://`.
    #[error("`{0}` is not an AMQP address: expected amqp://user:password@host:port/vhost")]
    Scheme(String),
    /// TLS is not spoken here.
    #[error("amqps:// is not supported by this client: expected amqp://user:password@host:port/vhost")]
    Tls,
    /// No host between `//` (or `@`) and the port or path.
    #[error("`{0}` names no host: expected amqp://user:password@host:port/vhost")]
    NoHost(String),
    /// The port is not a number from 1 to 65535.
    #[error("`{0}` is not a port: expected a number from 1 to 65535")]
    Port(String),
    /// `%xx` sequences that are not UTF-8.
    #[error("`{0}` is not UTF-8 after percent decoding")]
    Encoding(String),
    /// A `?query`, of which none is known.
    #[error("`?{0}` is not understood: addresses take no options")]
    Query(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with("amqps://") {
            return Err(AddressError::Tls);
        }
        let rest = text.strip_prefix("amqp://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        if let Some((_, query)) = rest.split_once('?') {
            return Err(AddressError::Query(query.to_owned()));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let (user, password) = match credentials {
            Some(credentials) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                (decoded(user)?, decoded(password)?)
            }
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        let (host, port) = split_port(place)?;
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        let vhost = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
        Ok(Self { host: decoded(host)?, port, user, password, vhost })
    }
}

/// The address without its password, for people.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "amqp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "amqp://{}:{}", self.host, self.port)
        }
    }
}

fn split_port(place: &str) -> Result<(&str, u16), AddressError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let Some(port) = port else { return Ok((host, DEFAULT_PORT)) };
    match port.parse() {
        Ok(number) if number > 0 => Ok((host, number)),
        _ => Err(AddressError::Port(port.to_owned())),
    }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| AddressError::Encoding(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u16, &str, &str, &str), AddressError>) {
        let expected = expected.map(|(host, port, user, password, vhost)| Address {
            host: host.into(),
            port,
            user: user.into(),
            password: password.into(),
            vhost: vhost.into(),
        });
        assert_eq!(text.parse(), expected, "{text}");
    }

    #[test]
    fn addresses_are_read_with_defaults() {
        check("amqp://broker", Ok(("broker", 5672, "guest", "guest", "/")));
        check("amqp://broker/", Ok(("broker", 5672, "guest", "guest", "/")));
        check("amqp://a:b@127.0.0.1:5673", Ok(("127.0.0.1", 5673, "a", "b", "/")));
        check("amqp://a%40b:c%2Fd@h/%2f", Ok(("h", 5672, "a@b", "c/d", "/")));
        check("amqp://a@h/prod", Ok(("h", 5672, "a", "", "prod")));
        check("amqp://[::1]:5674", Ok(("::1", 5674, "guest", "guest", "/")));
        check("amqp://[::1]", Ok(("::1", 5672, "guest", "guest", "/")));
    }

    #[test]
    fn faults_are_named() {
        check("http://h", Err(AddressError::Scheme("http://h".into())));
        check("amqps://h", Err(AddressError::Tls));
        check("amqp://", Err(AddressError::NoHost("amqp://".into())));
        check("amqp://h:0", Err(AddressError::Port("0".into())));
        check("amqp://h:99999", Err(AddressError::Port("99999".into())));
        check("amqp://h:", Err(AddressError::Port(String::new())));
        check("amqp://%ff@h", Err(AddressError::Encoding("%ff".into())));
        check("amqp://h?heartbeat=5", Err(AddressError::Query("heartbeat=5".into())));
    }

    #[test]
    fn the_shown_address_has_no_password() {
        let address: Address = "amqp://a:secret@[::1]:5673".parse().unwrap();
        assert_eq!(address.to_string(), "amqp://[::1]:5673");
    }
}
