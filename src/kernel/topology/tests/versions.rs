//! What a kept route depends on: nothing less (see the model test), and not much more.

use super::*;
use crate::topology::RouteMemo;

fn memo(bench: &Bench, exchange: &str, key: &str) -> Option<RouteMemo> {
    route(&bench.now, exchange, &[key], "", 0).unwrap().1.memo
}

#[test]
fn a_queue_elsewhere_leaves_a_kept_route_alone() {
    let mut bench = Bench::new();
    bench.queue("q");
    bench.bind(&to_queue("amq.topic", "q", "#")).unwrap();
    let mut kept = memo(&bench, "amq.topic", "k").unwrap();
    let mut default = memo(&bench, "", "q").unwrap();
    let mut nothing = memo(&bench, "", "absent").unwrap();
    let version = bench.now.exchange_version("amq.topic");
    bench.queue("reply");
    bench.bind(&to_queue("amq.direct", "reply", "k")).unwrap();
    assert_eq!(bench.now.exchange_version("amq.topic"), version);
    assert!(bench.now.memo_valid("amq.topic", "k", &mut kept));
    assert!(bench.now.memo_valid("", "q", &mut default));
    assert!(bench.now.memo_valid("", "absent", &mut nothing));
    bench.queue("absent");
    assert!(!bench.now.memo_valid("", "absent", &mut nothing));
    bench.delete_queue("q").unwrap();
    assert!(!bench.now.memo_valid("", "q", &mut default));
    assert!(!bench.now.memo_valid("amq.topic", "k", &mut kept));
    bench.queue("q");
    assert!(!bench.now.memo_valid("", "q", &mut default), "a namesake is another queue");
}

#[test]
fn a_change_downstream_gives_a_new_version_upstream() {
    let mut bench = Bench::new();
    bench.queue("q");
    for (name, alternate) in [("x", None), ("y", Some("z")), ("aside", None)] {
        let alternate = alternate.map(str::to_owned);
        bench.exchange(name, &ExchangeSettings { alternate, ..exchange(ExchangeKind::Direct) }).unwrap();
    }
    bench.bind(&to_exchange("x", "y", "k")).unwrap();
    let versions = |bench: &Bench| ["x", "y", "aside"].map(|name| bench.now.exchange_version(name).unwrap());
    let check = |bench: &Bench, before: [u64; 3], what: &str| {
        let after = versions(bench);
        assert!(after[0] > before[0] && after[1] > before[1] && after[2] == before[2], "{what}: {after:?}");
        after
    };
    let start = versions(&bench);
    bench.exchange("z", &exchange(ExchangeKind::Direct)).unwrap();
    let declared = check(&bench, start, "the missing alternate is declared");
    bench.bind(&to_queue("z", "q", "k")).unwrap();
    let bound = check(&bench, declared, "the alternate is bound");
    bench.unbind(&to_queue("z", "q", "k")).unwrap();
    let unbound = check(&bench, bound, "the alternate is unbound");
    bench.delete_exchange("z", false).unwrap();
    check(&bench, unbound, "the alternate is deleted");
}

#[test]
fn routes_that_depend_on_more_than_exchange_and_key_are_not_kept() {
    let mut bench = Bench::new();
    bench.queue("q");
    let hash_header = Some("h".to_owned());
    let by_header = ExchangeSettings { hash_header, ..exchange(ExchangeKind::ConsistentHash) };
    bench.exchange("header hash", &by_header).unwrap();
    bench.exchange("hash", &exchange(ExchangeKind::ConsistentHash)).unwrap();
    bench.exchange("random", &exchange(ExchangeKind::Random)).unwrap();
    let alternate = Some(String::new());
    bench.exchange("to default", &ExchangeSettings { alternate, ..exchange(ExchangeKind::Direct) }).unwrap();
    for (name, kept) in [
        ("hash", true),
        ("amq.direct", true),
        ("header hash", false),
        ("random", false),
        ("amq.match", false),
        ("to default", false),
    ] {
        assert_eq!(memo(&bench, name, "k").is_some(), kept, "{name}");
        let by = format!("by {name}");
        bench.exchange(&by, &exchange(ExchangeKind::Fanout)).unwrap();
        bench.bind(&to_exchange(&by, name, "")).unwrap();
        assert_eq!(memo(&bench, &by, "k").is_some(), kept, "{by}");
    }
    assert_eq!(route(&bench.now, "amq.direct", &["k", "l"], "", 0).unwrap().1.memo, None, "several keys");
}

#[test]
fn a_restored_topology_honours_no_older_memo() {
    let mut bench = Bench::new();
    bench.exchange("x", &exchange(ExchangeKind::Direct)).unwrap();
    let mut kept = memo(&bench, "x", "k").unwrap();
    let mut before_all = memo(&bench, "amq.direct", "k").unwrap();
    bench.queue("q");
    bench.bind(&to_queue("amq.direct", "q", "k")).unwrap();
    let restored = Topology::restore(WIDE, bench.now.snapshot());
    assert_eq!(restored.version(), bench.now.version());
    assert!(!restored.memo_valid("x", "k", &mut kept));
    assert!(!restored.memo_valid("amq.direct", "k", &mut before_all));
}
