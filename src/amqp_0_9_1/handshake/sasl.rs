//! Responses of the SASL mechanisms, read into a request. Whether they are good is the engine's to say.

use crate::codec::{Table, Value};
use crate::connection::SaslMechanism;
use crate::error::Fault;
use crate::spec::ReplyCode;
use fairlead_kernel::session::{Mechanism, Request};

/// What the client's initial response asks for.
pub(crate) fn request(mechanism: SaslMechanism, response: &[u8]) -> Result<Request, Fault> {
    let credentials = match mechanism {
        SaslMechanism::Plain => plain(response),
        SaslMechanism::AmqPlain => amqplain(response),
        SaslMechanism::Anonymous => {
            return Ok(Request::Authenticate {
                mechanism: Mechanism::Anonymous,
                user: "anonymous".to_owned(),
                secret: Vec::new(),
            });
        }
    };
    // The response holds a password: the text tells its form, not its content.
    let (user, secret) = credentials.ok_or_else(|| {
        Fault::new(
            ReplyCode::SyntaxError,
            format!("invalid response for authentication mechanism {}", mechanism.name()),
        )
    })?;
    Ok(Request::Authenticate { mechanism: Mechanism::Plain, user: user.to_owned(), secret: secret.to_vec() })
}

/// `[authorization identity] NUL user NUL password`. RFC 4616, clause 2.
fn plain(response: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = response.split(|&byte| byte == 0);
    let (_identity, user, secret, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    Some((std::str::from_utf8(user).ok()?, secret))
}

/// A field table without its length, with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<(&str, &[u8])> {
    let table = Table::validate(response).ok()?;
    match (table.get("LOGIN")?, table.get("PASSWORD")?) {
        (Value::LongString(user), Value::LongString(secret)) => {
            Some((std::str::from_utf8(user).ok()?, secret))
        }
        _ => None,
    }
}
