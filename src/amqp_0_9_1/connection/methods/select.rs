//! Classes tx and confirm: how a channel treats publishes and acknowledgements. One excludes the other.

use super::super::Connection;
use super::super::replies::Then;
use super::Asked;
use crate::channel::{Confirms, Mode, Transaction};
use crate::error::Fault;
use crate::spec::{confirm, tx};
use fairlead_kernel::session::Request;

impl Connection {
    pub(super) fn tx_select(&mut self, number: u16) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Transaction(Transaction::default()),
            Mode::Transaction(_) => {}
            Mode::Confirm(_) => return Err(Fault::precondition("cannot switch from confirm to tx mode")),
        }
        self.send(number, &tx::SelectOk);
        Ok(())
    }

    /// Spec: tx.commit, rule "transacted".
    pub(super) fn tx_commit(&mut self, asked: Asked) -> Result<(), Fault> {
        let settlements = self.transaction(asked.channel)?.commit();
        self.ask_for(asked, Request::Commit { settlements }, Then::Committed);
        Ok(())
    }

    /// Spec: tx.rollback, rule "transacted".
    pub(super) fn tx_rollback(&mut self, asked: Asked) -> Result<(), Fault> {
        self.transaction(asked.channel)?;
        self.ask_for(asked, Request::Rollback, Then::RolledBack);
        Ok(())
    }

    fn transaction(&mut self, number: u16) -> Result<&mut Transaction, Fault> {
        match self.channels.get_mut(number).map(|channel| &mut channel.mode) {
            Some(Mode::Transaction(transaction)) => Ok(transaction),
            _ => Err(Fault::precondition("channel is not transactional")),
        }
    }

    pub(super) fn confirm_select(&mut self, number: u16, method: &confirm::Select) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Transaction(_) => return Err(Fault::precondition("cannot switch from tx to confirm mode")),
        }
        if !method.nowait {
            self.send(number, &confirm::SelectOk);
        }
        Ok(())
    }
}
