//! The memory mark, and what a quiet broker holds.

use super::*;
use crate::counters::Counter;

fn small() -> Arc<Broker> {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    broker_with(Settings { authentication, memory_stop_above: 1 << 20, ..Settings::default() })
}

#[test]
fn publishers_are_stopped_above_the_mark_and_go_on_below() {
    let broker = small();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let body = "x".repeat(1000);
    let batch: Vec<_> = (0..2000).map(|_| publish("", "q", &body)).collect();
    client.publish(&batch);
    broker.run_due(client.now);
    assert!(broker.blocked().is_some());
    assert!(matches!(client.receive().1[..], [Event::Blocked { .. }]));
    let mut newcomer = Client::new_raw(&broker);
    assert!(matches!(newcomer.next_event(), Some(Event::Blocked { .. })));
    client.ask(Request::PurgeQueue { name: "q".to_owned() }).unwrap();
    let later = client.now.after_milliseconds(5000);
    for _ in 0..3 {
        broker.run_due(later);
    }
    assert!(broker.blocked().is_none(), "{} bytes are left", broker.memory.used());
    assert!(matches!(client.receive().1[..], [Event::Unblocked]));
    assert_eq!(broker.counters().get(Counter::MemoryAlarms), 1);
}

#[test]
fn the_gauge_is_zero_when_all_queues_are_gone() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for n in 0..50 {
        let name = format!("q{n}");
        client.declare(&name, QueueSettings::default()).unwrap();
        client.publish(&[publish("", &name, "x")]);
    }
    assert!(broker.memory.used() > 0);
    for n in 0..50 {
        let request = Request::DeleteQueue { name: format!("q{n}"), if_unused: false, if_empty: false };
        client.ask(request).unwrap();
    }
    assert_eq!(broker.memory.used(), 0);
    assert_eq!(broker.janitor.next(), None);
}
