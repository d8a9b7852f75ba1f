//! Queues that come and go by themselves.

use super::*;
use fairlead_kernel::settings::Limits;
use fairlead_kernel::topology::TopologyCommand;
use std::time::Duration;

fn exists(client: &mut Client, queue: &str) -> bool {
    client.ask(Request::DeclareQueue { name: queue.to_owned(), settings: None }).is_ok()
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings { auto_delete: true, ..QueueSettings::default() }).unwrap();
    client.ask(Request::Bind(binding("amq.direct", "q", "k"))).unwrap();
    let first = client.consume("q", settled());
    let second = client.consume("q", settled());
    client.ask(Request::Unsubscribe { consumer: first }).unwrap();
    assert!(exists(&mut client, "q"));
    client.ask(Request::Unsubscribe { consumer: second }).unwrap();
    assert!(!exists(&mut client, "q"));
    assert_eq!(client.connection.host.as_ref().unwrap().topology().binding_count(), 0);
}

#[test]
fn an_unused_queue_expires_and_a_used_one_does_not() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let limits = Limits { expires: Some(1000), ..Limits::default() };
    for queue in ["unused", "used"] {
        let settings = QueueSettings { limits: limits.clone(), ..QueueSettings::default() };
        client.declare(queue, settings).unwrap();
    }
    client.consume("used", settled());
    let later = client.now.after(Duration::from_millis(999));
    assert!(broker.run_due(later).is_some_and(|next| next > later));
    assert!(exists(&mut client, "unused"));
    // That was a use.
    let end = client.now.after(Duration::from_secs(3));
    broker.run_due(end);
    assert!(!exists(&mut client, "unused"));
    assert!(exists(&mut client, "used"));
}

#[test]
fn conditions_of_a_deletion_are_held() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "q", "x")]);
    let delete = |if_unused, if_empty| Request::DeleteQueue { name: "q".to_owned(), if_unused, if_empty };
    assert_eq!(client.ask(delete(false, true)), Err(Refusal::NotEmpty("q".to_owned())));
    client.consume("q", acknowledging(None));
    assert!(matches!(client.ask(delete(true, false)), Err(Refusal::InUse(..))));
    assert!(client.ask(delete(false, false)).is_ok());
    assert_eq!(client.ask(delete(false, false)), Ok(Reply::Removed { messages: 0 }), "none is fine");
}

#[test]
fn a_new_queue_of_the_old_name_is_another_queue() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let mut publisher = Client::new(&broker);
    for round in 0..3 {
        client.declare("q", QueueSettings::default()).unwrap();
        assert_eq!(publisher.publish(&[publish("", "q", "x")]), [], "round {round}");
        assert_eq!(client.counts("q"), (1, 0));
        client.ask(Request::DeleteQueue { name: "q".to_owned(), if_unused: false, if_empty: false }).unwrap();
    }
}

#[test]
fn a_declaration_waits_until_a_queue_that_is_going_has_gone() {
    let broker = broker();
    let (mut client, mut deleting) = (Client::new(&broker), Client::new(&broker));
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "q", "x")]);
    let host = broker.host("/").unwrap();
    let mut change = host.change();
    let old = go_without_a_word(&mut deleting, "q");
    let settings = Some(QueueSettings::default());
    assert_eq!(client.connection.try_declare_queue("q", settings.as_ref(), client.now), Ok(None));
    assert_eq!(client.connection.try_declare_queue("q", None, client.now), Ok(None));
    let declared = std::thread::scope(|scope| {
        let declaring = scope.spawn(|| client.declare("q", QueueSettings::default()));
        change.prepare(vec![TopologyCommand::DeleteQueue { id: old, name: "q".into() }]);
        change.publish();
        broker.queues.remove(old);
        drop(change);
        declaring.join().unwrap()
    });
    assert_eq!(declared, Ok(Reply::Queue { name: "q".to_owned(), messages: 0, consumers: 0 }));
    client.publish(&[publish("", "q", "y")]);
    assert_eq!(client.get("q").unwrap().body, "y");
}
