//! Which published messages still wait for their confirm.

use crate::Error;
use std::collections::VecDeque;

/// The publishes of one channel in confirm mode. The broker numbers them from 1; so does this.
#[derive(Debug, Default)]
pub struct ConfirmWindow {
    /// How many were published.
    published: u64,
    /// From the oldest unconfirmed one to the newest: whether it is confirmed.
    confirmed: VecDeque<bool>,
    /// Those in `confirmed` that are not.
    waiting: usize,
}

impl ConfirmWindow {
    /// `count` more messages have been published.
    pub fn publish(&mut self, count: usize) {
        self.published += count as u64;
        self.confirmed.extend(std::iter::repeat_n(false, count));
        self.waiting += count;
    }

    /// Messages without a confirm.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes the `delivery-tag` and `multiple` of a basic.ack or basic.nack; gives how many messages it settles.
    pub fn settle(&mut self, delivery_tag: u64, multiple: bool) -> Result<usize, Error> {
        let oldest = self.published - self.confirmed.len() as u64 + 1;
        let unknown = Error::UnknownConfirm(delivery_tag);
        let index = match delivery_tag.checked_sub(oldest) {
            Some(index) if index < self.confirmed.len() as u64 => index as usize,
            _ => return Err(unknown),
        };
        let before = self.waiting;
        if multiple {
            let settled = self.confirmed.drain(..=index).filter(|confirmed| !confirmed).count();
            self.waiting -= settled;
        } else {
            if std::mem::replace(&mut self.confirmed[index], true) {
                return Err(unknown);
            }
            self.waiting -= 1;
        }
        while self.confirmed.front() == Some(&true) {
            self.confirmed.pop_front();
        }
        Ok(before - self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_in_any_order_settle_each_message_once() {
        let mut window = ConfirmWindow::default();
        window.publish(10);
        assert_eq!(window.settle(3, false).unwrap(), 1);
        assert_eq!(window.settle(5, true).unwrap(), 4, "3 was settled before");
        assert_eq!(window.waiting(), 5);
        window.publish(1);
        assert_eq!(window.settle(11, false).unwrap(), 1);
        assert_eq!(window.settle(10, true).unwrap(), 5);
        assert_eq!(window.waiting(), 0);
        window.publish(1);
        assert_eq!(window.settle(12, false).unwrap(), 1);
    }

    #[test]
    fn confirms_of_nothing_are_errors() {
        let mut window = ConfirmWindow::default();
        assert!(matches!(window.settle(1, false), Err(Error::UnknownConfirm(1))));
        window.publish(2);
        assert!(matches!(window.settle(0, true), Err(Error::UnknownConfirm(0))));
        assert!(matches!(window.settle(3, true), Err(Error::UnknownConfirm(3))));
        window.settle(2, false).unwrap();
        assert!(matches!(window.settle(2, false), Err(Error::UnknownConfirm(2))));
        window.settle(1, false).unwrap();
        assert!(matches!(window.settle(1, true), Err(Error::UnknownConfirm(1))));
    }
}
