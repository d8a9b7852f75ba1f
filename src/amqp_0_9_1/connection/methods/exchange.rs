//! Class exchange. Spec: AMQP 0-9-1 reference, class exchange.

use super::super::Connection;
use super::super::replies::Then;
use super::Asked;
use crate::error::Fault;
use crate::spec::{ReplyCode, exchange};
use crate::translate::names::{PREDECLARED_EXCHANGES, RESERVED_PREFIX};
use crate::translate::{ExchangeOrQueue, binding, exchange_settings};
use fairlead_kernel::session::Request;

impl Connection {
    pub(super) fn exchange_declare(
        &mut self,
        asked: Asked,
        method: &exchange::Declare<'_>,
    ) -> Result<(), Fault> {
        let name = method.exchange;
        let settings = if method.passive {
            None
        } else {
            let settings = exchange_settings(method, self.virtual_host())?;
            // Spec: exchange.declare, rule "reserved".
            if name.starts_with(RESERVED_PREFIX) && !PREDECLARED_EXCHANGES.contains(&name) {
                return Err(reserved("exchange", name));
            }
            Some(settings)
        };
        let request = Request::DeclareExchange { name: name.to_owned(), settings };
        self.ask_for(asked, request, Then::ExchangeDeclared { quiet: method.no_wait });
        Ok(())
    }

    pub(super) fn exchange_delete(&mut self, asked: Asked, method: &exchange::Delete<'_>) {
        let request =
            Request::DeleteExchange { name: method.exchange.to_owned(), if_unused: method.if_unused };
        self.ask_for(asked, request, Then::ExchangeDeleted { quiet: method.no_wait });
    }

    pub(super) fn exchange_bind(&mut self, asked: Asked, method: &exchange::Bind<'_>) -> Result<(), Fault> {
        let to = ExchangeOrQueue::Exchange(method.destination);
        let request = Request::Bind(binding(method.source, to, method.routing_key, method.arguments)?);
        self.ask_for(asked, request, Then::ExchangeBound { quiet: method.no_wait });
        Ok(())
    }

    pub(super) fn exchange_unbind(
        &mut self,
        asked: Asked,
        method: &exchange::Unbind<'_>,
    ) -> Result<(), Fault> {
        let to = ExchangeOrQueue::Exchange(method.destination);
        let request = Request::Unbind(binding(method.source, to, method.routing_key, method.arguments)?);
        self.ask_for(asked, request, Then::ExchangeUnbound { quiet: method.no_wait });
        Ok(())
    }
}

/// A name that only the broker may give.
pub(super) fn reserved(resource: &str, name: &str) -> Fault {
    Fault::new(ReplyCode::AccessRefused, format!("{resource} name '{name}' contains reserved prefix 'amq.*'"))
}
