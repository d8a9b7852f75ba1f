//! Class basic, the consuming side: qos, consume, cancel, get. Spec: AMQP 0-9-1 reference, class basic.

use super::super::Connection;
use super::super::receive::not_implemented;
use super::super::replies::Then;
use super::Asked;
use crate::channel::ReplyAddress;
use crate::error::{Fault, of_refusal};
use crate::spec::{ReplyCode, basic};
use crate::translate::names::REPLY_TO;
use crate::translate::{consumer_priority, table_fields};
use fairlead_kernel::refusal::{Bound, Refusal};
use fairlead_kernel::session::Request;
use fairlead_kernel::settings::ConsumerSettings;

impl Connection {
    pub(super) fn qos(&mut self, asked: Asked, method: &basic::Qos) -> Result<(), Fault> {
        if method.prefetch_size != 0 {
            return Err(not_implemented(&format!("prefetch_size!=0 ({})", method.prefetch_size)));
        }
        let Some(channel) = self.channels.get_mut(asked.channel) else { return Ok(()) };
        if method.global {
            channel.session_prefetch = method.prefetch_count;
            let window = (method.prefetch_count > 0).then_some(method.prefetch_count.into());
            self.request(asked.session(), Request::SetSessionWindow { window });
        } else {
            channel.prefetch = method.prefetch_count;
        }
        self.send(asked.channel, &basic::QosOk);
        Ok(())
    }

    pub(super) fn consume(&mut self, asked: Asked, method: &basic::Consume<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(asked.channel) else { return Ok(()) };
        // Spec: basic.consume, field consumer-tag, rule "unique".
        if !method.consumer_tag.is_empty() && channel.consumers.find(method.consumer_tag).is_some() {
            let text = format!("attempt to reuse consumer tag '{}'", method.consumer_tag);
            return Err(Fault::new(ReplyCode::NotAllowed, text));
        }
        let limit = self.config.consumers_max;
        if channel.consumers.len() >= limit as usize {
            let refusal = Refusal::TooMany { bound: Bound::Consumers, limit: limit.into() };
            return Err(of_refusal(&refusal, self.virtual_host(), self.user()));
        }
        let tag = match method.consumer_tag {
            "" => self.names.next("amq.ctag-"),
            tag => tag.to_owned(),
        };
        if method.queue == REPLY_TO {
            return self.consume_replies(asked, method, tag);
        }
        let queue = self.queue_or_last(asked.channel, method.queue)?;
        let settings = self.consumer_settings(asked.channel, method, &queue, &tag)?;
        let consumer = self.next_consumer();
        if let Some(channel) = self.channels.get_mut(asked.channel) {
            channel.consumers.add(consumer, &tag);
        }
        let request = Request::Subscribe { consumer, queue, settings: Box::new(settings) };
        self.ask_for(asked, request, Then::Subscribed { consumer, quiet: method.no_wait });
        Ok(())
    }

    fn consumer_settings(
        &mut self,
        number: u16,
        method: &basic::Consume<'_>,
        queue: &str,
        tag: &str,
    ) -> Result<ConsumerSettings, Fault> {
        let priority = consumer_priority(method.arguments, queue, self.virtual_host())?;
        let unsettled_max = self.config.unsettled_max;
        let prefetch = self.channels.get_mut(number).map_or(0, |channel| channel.prefetch);
        let window = match prefetch {
            0 => unsettled_max,
            prefetch => u32::from(prefetch).min(unsettled_max),
        };
        Ok(ConsumerSettings {
            tag: tag.to_owned(),
            acknowledge: !method.no_ack,
            exclusive: method.exclusive,
            priority,
            // Without acknowledgements there is nothing to count.
            window: (!method.no_ack).then_some(window),
            // As RabbitMQ: accepted, and without effect.
            no_local: false,
            browse: false,
            arguments: table_fields(method.arguments),
        })
    }

    /// The pseudo-queue of direct reply-to: its consumer gets an address of its own.
    fn consume_replies(
        &mut self,
        asked: Asked,
        method: &basic::Consume<'_>,
        tag: String,
    ) -> Result<(), Fault> {
        let consumer = self.next_consumer();
        let token = self.names.next("");
        let Some(channel) = self.channels.get_mut(asked.channel) else { return Ok(()) };
        if channel.reply_address.is_some() {
            return Err(Fault::precondition("reply consumer already set"));
        }
        if !method.no_ack {
            return Err(Fault::precondition("reply consumer cannot acknowledge"));
        }
        channel.reply_address = Some(ReplyAddress { consumer, token: token.as_str().into() });
        channel.consumers.add(consumer, &tag);
        let request = Request::SubscribeReplies { consumer, token, tag };
        self.ask_for(asked, request, Then::Subscribed { consumer, quiet: method.no_wait });
        Ok(())
    }

    /// An unknown tag is fine. Spec: basic.cancel, rule "unknown".
    pub(super) fn cancel(&mut self, asked: Asked, method: &basic::Cancel<'_>) {
        let Some(channel) = self.channels.get_mut(asked.channel) else { return };
        match channel.consumers.find(method.consumer_tag) {
            Some(consumer) => {
                let tag = method.consumer_tag.into();
                let then = Then::Unsubscribed { consumer, tag, quiet: method.no_wait };
                self.ask_for(asked, Request::Unsubscribe { consumer }, then);
            }
            None if method.no_wait => {}
            None => self.send(asked.channel, &basic::CancelOk { consumer_tag: method.consumer_tag }),
        }
    }

    pub(super) fn get(&mut self, asked: Asked, method: &basic::Get<'_>) -> Result<(), Fault> {
        let queue = self.queue_or_last(asked.channel, method.queue)?;
        let acknowledge = !method.no_ack;
        let limit = self.config.unsettled_max;
        let held = self.channels.get_mut(asked.channel).map_or(0, |channel| channel.unsettled.len());
        if acknowledge && held >= limit as usize {
            return Err(Fault::precondition(format!(
                "channel {} has {held} unacknowledged deliveries, the maximum is {limit}",
                asked.channel
            )));
        }
        self.ask_for(asked, Request::Get { queue, acknowledge }, Then::Got);
        Ok(())
    }
}
