//! Limits: what tune-ok may say.

use super::Tuned;
use crate::connection::ConnectionConfig;
use crate::error::Fault;
use crate::spec::{FRAME_MIN_SIZE, ReplyCode, connection};

/// Holds tune-ok against our tune. 0 means "no limit", so where we have one it is above it. The client's
/// heartbeat stands, whatever we proposed.
pub(crate) fn negotiate(method: &connection::TuneOk, config: &ConnectionConfig) -> Result<Tuned, Fault> {
    // Spec: connection.tune-ok, field channel-max, assertion "le tune.channel-max"; the same for frame-max.
    at_most("channel_max", method.channel_max.into(), config.channel_max.into())?;
    at_most("frame_max", method.frame_max, config.frame_max)?;
    if method.frame_max < FRAME_MIN_SIZE {
        return Err(failed("frame_max", method.frame_max, "lower than the minimum", FRAME_MIN_SIZE));
    }
    Ok(Tuned { channel_max: method.channel_max, frame_max: method.frame_max, heartbeat: method.heartbeat })
}

fn at_most(field: &str, asked: u32, maximum: u32) -> Result<(), Fault> {
    if asked == 0 || asked > maximum {
        return Err(failed(field, asked, "higher than the maximum", maximum));
    }
    Ok(())
}

fn failed(field: &str, asked: u32, relation: &str, bound: u32) -> Fault {
    let detail = if asked == 0 { " (no limit)" } else { "" };
    Fault::new(
        ReplyCode::NotAllowed,
        format!("negotiated {field} = {asked}{detail} is {relation} allowed value ({bound})"),
    )
}
