//! New settings for a running broker: all of them, or none.
//!
//! Flow: every virtual host's declarations are decided on a copy of its topology; only when all can be done
//! is anything changed. What is declared and missing is created; what exists with other properties refuses the
//! settings; what was declared before and is not any more stays as it is, as clients may use it. Policies are
//! replaced, and queues that they change are told.

use crate::Broker;
use crate::explain::explain;
use crate::scratch::Scratch;
use crate::settings::{DeclaredHost, Settings};
use crate::vhost::VirtualHost;
use fairlead_kernel::topology::{BadPattern, Policy, QueueDecision, Topology, TopologyCommand};
use fairlead_kernel::{ConnectionId, QueueId, Refusal, Time};
use std::sync::Arc;

/// The virtual host that always exists.
const DEFAULT_HOST: &str = "/";

/// Nobody's connection: what the settings declare belongs to none.
const OF_SETTINGS: ConnectionId = ConnectionId(0);

/// Settings that cannot be had; nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A policy's pattern.
    #[error("virtual host '{host}': {error}")]
    Pattern {
        /// In which virtual host.
        host: String,
        /// What is wrong.
        error: BadPattern,
    },
    /// A declaration that contradicts what exists, or another one.
    #[error("virtual host '{host}': {what} '{name}' cannot be declared: {why}", why = explain(.refusal))]
    Declaration {
        /// In which virtual host.
        host: String,
        /// `exchange`, `queue` or `binding from`.
        what: &'static str,
        /// The name.
        name: String,
        /// Why not.
        refusal: Box<Refusal>,
    },
}

/// What is to be done to a virtual host.
struct Plan {
    commands: Vec<TopologyCommand>,
    /// The topology after them.
    topology: Topology,
    /// What exists with other properties.
    contradictions: Vec<SettingsError>,
}

impl Plan {
    fn add(&mut self, command: TopologyCommand) {
        self.topology = self.topology.apply(&command);
        self.commands.push(command);
    }

    fn take(
        &mut self,
        decided: Result<Option<TopologyCommand>, Refusal>,
        refused: impl FnOnce(Refusal) -> SettingsError,
    ) -> Result<(), SettingsError> {
        match decided {
            Ok(command) => command.into_iter().for_each(|command| self.add(command)),
            Err(refusal @ (Refusal::Inequivalent { .. } | Refusal::Locked(_))) => {
                self.contradictions.push(refused(refusal));
            }
            Err(refusal) => return Err(refused(refusal)),
        }
        Ok(())
    }
}

impl Broker {
    /// Take new settings, all but the bounds of virtual hosts that exist. Connections that are open stay, even if
    /// their user is gone.
    ///
    /// # Errors
    /// Something in them cannot be done; nothing has changed then.
    pub fn reload(&self, settings: Settings) -> Result<(), SettingsError> {
        let _reloading = self.reloading.lock();
        let now = self.clock.now();
        let default = DeclaredHost { name: DEFAULT_HOST.to_owned(), ..DeclaredHost::default() };
        let implied =
            (!settings.virtual_hosts.iter().any(|host| host.name == DEFAULT_HOST)).then_some(default);
        let declared: Vec<&DeclaredHost> = implied.iter().chain(&settings.virtual_hosts).collect();
        let mut hosts = (**self.hosts.load()).clone();
        for host in &declared {
            hosts.entry(host.name.as_str().into()).or_insert_with_key(|name| {
                let topology = Topology::new(settings.topology);
                Arc::new(VirtualHost::new(Arc::clone(name), topology, self.store.clone()))
            });
        }
        for host in &declared {
            let topology = hosts[host.name.as_str()].topology();
            let plan = self.plan(host, (**topology).clone())?;
            if let Some(contradiction) = plan.contradictions.into_iter().next() {
                return Err(contradiction);
            }
        }
        self.hosts.store(Arc::new(hosts.clone()));
        for host in &declared {
            self.realise(&hosts[host.name.as_str()], host, now)?;
        }
        self.memory.set_marks(&settings);
        self.pressure.set_pending_most(settings.journal_pending);
        self.settings.store(Arc::new(settings));
        self.janitor.poke();
        Ok(())
    }

    /// What makes of `topology` what the settings declare.
    fn plan(&self, declared: &DeclaredHost, topology: Topology) -> Result<Plan, SettingsError> {
        let policies = declared.policies.iter().cloned().map(Policy::new).collect::<Result<_, _>>();
        let policies =
            policies.map_err(|error| SettingsError::Pattern { host: declared.name.clone(), error })?;
        let mut plan = Plan { commands: Vec::new(), topology, contradictions: Vec::new() };
        plan.add(TopologyCommand::SetPolicies(policies));
        let refused = |what, name: &str| {
            let (host, name) = (declared.name.clone(), name.to_owned());
            move |refusal: Refusal| SettingsError::Declaration {
                host,
                what,
                name,
                refusal: Box::new(refusal),
            }
        };
        for (name, settings) in &declared.exchanges {
            let decided = plan.topology.decide_declare_exchange(name, Some(settings));
            plan.take(decided, refused("exchange", name))?;
        }
        for (name, settings) in &declared.queues {
            let id = self.queues.next_id();
            let decided = plan.topology.decide_declare_queue(name, Some(settings), OF_SETTINGS, id);
            let decided = decided.map(|decision| match decision {
                QueueDecision::Create(command) => Some(command),
                QueueDecision::Existing(_) => None,
            });
            plan.take(decided, refused("queue", name))?;
        }
        for binding in &declared.bindings {
            let decided = plan.topology.decide_bind(binding, OF_SETTINGS);
            plan.take(decided, refused("binding from", &binding.source))?;
        }
        Ok(plan)
    }

    fn realise(
        &self,
        host: &Arc<VirtualHost>,
        declared: &DeclaredHost,
        now: Time,
    ) -> Result<(), SettingsError> {
        let mut change = host.change();
        let before = Arc::clone(&change.current);
        let Plan { commands, contradictions, .. } = self.plan(declared, (*before).clone())?;
        for contradiction in contradictions {
            // A client was quicker than the settings: too late to refuse them.
            tracing::warn!("{contradiction}: left as its client declared it meanwhile");
        }
        change.prepare(commands.clone());
        for command in &commands {
            if let TopologyCommand::DeclareQueue { name, .. } = command {
                self.create_cell(host, &change.current, name, now);
            }
        }
        change.publish();
        let after = Arc::clone(&change.current);
        drop(change);
        for record in before.changed_limits(&after) {
            self.reconfigure(record.id(), record.effective_limits(), now);
        }
        Ok(())
    }

    fn reconfigure(&self, queue: QueueId, limits: &fairlead_kernel::settings::Limits, now: Time) {
        let Some(cell) = self.queues.get(queue) else { return };
        Scratch::with(|scratch| {
            cell.enter(self, scratch, now, |q| {
                // Deleted meanwhile: it needs no limits.
                let _ = q.queue.reconfigure(limits, &mut q.turn);
            });
            self.follow_up(scratch, now);
        });
    }
}
