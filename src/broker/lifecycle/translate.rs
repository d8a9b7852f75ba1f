//! From the configuration to what the engine, the adapter and the listener are told.

use crate::config::{Config, Mechanism, machine_memory};
use fairlead_amqp_0_9_1::connection::{ConnectionConfig, SaslMechanism};
use fairlead_engine::auth::Authentication;
use fairlead_engine::{DeclaredHost, Settings};

/// Memory of a machine that does not tell how much it has, in bytes.
const UNKNOWN_MEMORY: u64 = 1 << 30;

/// For the engine.
pub fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    let memory = machine_memory().unwrap_or(UNKNOWN_MEMORY);
    let hosts = config.topology.vhosts.iter().map(|vhost| declared_host(config, vhost));
    Settings {
        authentication: authentication(config),
        connections: limits.connections.into(),
        connections_per_user: limits.connections_per_user.into(),
        topology: limits.topology(),
        transaction_bytes: limits.transaction_bytes,
        memory_stop_above: config.memory.stop_publishers_above.bytes(memory),
        memory_page_out_above: config.memory.page_out_above.bytes(memory),
        queue_memory: config.memory.queue,
        journal_pending: config.journal.pending,
        virtual_hosts: hosts.collect(),
    }
}

/// For the journal.
pub fn journal(config: &Config) -> fairlead_journal::Options {
    config.journal.options()
}

fn authentication(config: &Config) -> Authentication {
    let users = config.users.iter().map(|user| (user.name.clone(), user.password.reveal().into()));
    Authentication {
        users: users.collect(),
        disabled: !config.authentication.required,
        anonymous: config.authentication.mechanisms.contains(&Mechanism::Anonymous),
        plain_without_tls: config.authentication.plain_without_tls,
        guest_from_anywhere: config.authentication.guest_from_anywhere,
    }
}

fn declared_host(config: &Config, vhost: &str) -> DeclaredHost {
    let topology = &config.topology;
    let exchanges = topology.exchanges.iter().filter(|it| it.vhost == vhost);
    let queues = topology.queues.iter().filter(|it| it.vhost == vhost);
    let bindings = topology.bindings.iter().filter(|it| it.vhost == vhost);
    let policies = config.policies.iter().filter(|policy| policy.vhost == vhost);
    DeclaredHost {
        name: vhost.to_owned(),
        exchanges: exchanges.map(|it| (it.name.clone(), it.settings.clone())).collect(),
        queues: queues.map(|it| (it.name.clone(), it.settings.clone())).collect(),
        bindings: bindings.map(|it| it.binding.clone()).collect(),
        policies: policies.map(|policy| policy.definition.clone()).collect(),
    }
}

/// For AMQP 0-9-1 connections.
pub fn amqp_0_9_1(config: &Config) -> ConnectionConfig {
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    let mechanisms = if config.authentication.required {
        config.authentication.mechanisms.iter().copied().map(mechanism).collect()
    } else {
        vec![SaslMechanism::Anonymous, SaslMechanism::Plain]
    };
    ConnectionConfig {
        mechanisms,
        allow_plain: config.authentication.plain_without_tls || !config.authentication.required,
        channel_max: limits.channels_per_connection,
        frame_max: limits.frame_size,
        initial_frame_max: limits.pre_authentication_bytes,
        heartbeat: timeouts.heartbeat_seconds,
        message_size_max: limits.message_size,
        incomplete_bytes_max: limits.incomplete_message_bytes,
        unsettled_max: limits.unsettled_per_consumer,
        consumers_max: limits.consumers_per_channel,
        acknowledgement_timeout: timeouts.acknowledgement,
        handshake_timeout: timeouts.handshake,
        ..ConnectionConfig::default()
    }
}

fn mechanism(mechanism: Mechanism) -> SaslMechanism {
    match mechanism {
        Mechanism::Plain => SaslMechanism::Plain,
        Mechanism::AmqPlain => SaslMechanism::AmqPlain,
        Mechanism::Anonymous => SaslMechanism::Anonymous,
    }
}
