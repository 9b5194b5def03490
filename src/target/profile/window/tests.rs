use super::*;
use crate::target::layers::testing::call_of;

fn call(method: Method, endpoint: &'static str, class: CallClass, bytes: usize) -> Call {
    let body = (bytes > 0).then(|| vec![b' '; bytes].into());
    Call { method, endpoint, body, ..call_of(class) }
}

fn window(text: &str) -> Window {
    toml::from_str(&format!("limit = 20\nper = \"30s\"\n{text}")).unwrap()
}

#[test]
fn a_window_counts_the_calls_that_all_its_conditions_hold_for() {
    let list = call(Method::GET, "Groups", CallClass::List, 0);
    let search = call(Method::GET, "Users", CallClass::Single, 0);
    let fetch = call(Method::GET, "Users/{id}", CallClass::Single, 0);
    let create = call(Method::POST, "Users", CallClass::Single, 200);
    let patch = call(Method::PATCH, "Groups/{id}", CallClass::Single, 501);
    let bulk = call(Method::POST, "Bulk", CallClass::Bulk, 900);
    let probe = call(Method::GET, "ServiceProviderConfig", CallClass::Probe, 0);
    let all = [&list, &search, &fetch, &create, &patch, &bulk, &probe];
    for (text, counted) in [
        ("", [1, 1, 1, 1, 1, 1, 1]),
        ("methods = [\"GET\"]", [1, 1, 1, 0, 0, 0, 1]),
        ("methods = [\"POST\", \"PATCH\"]", [0, 0, 0, 1, 1, 1, 0]),
        ("resources = [\"users\"]", [0, 1, 1, 1, 0, 0, 0]),
        ("resources = [\"groups\"]\nshapes = [\"list\"]", [1, 0, 0, 0, 0, 0, 0]),
        ("resources = [\"bulk\", \"other\"]", [0, 0, 0, 0, 0, 1, 1]),
        ("shapes = [\"search\"]", [0, 1, 0, 0, 0, 0, 0]),
        ("resources = [\"groups\"]\nbody_bytes_min = 501", [0, 0, 0, 0, 1, 0, 0]),
        ("body_bytes_min = 502", [0, 0, 0, 0, 0, 1, 0]),
    ] {
        let scope = window(text).scope;
        assert_eq!(all.map(|call| u8::from(scope.counts(call))), counted, "{text}");
        assert_eq!(scope.counts_every(None), text.is_empty(), "{text}");
    }
    let bulk_only = Scope::of_class(CallClass::Bulk);
    assert!(bulk_only.counts(&bulk) && !bulk_only.counts(&create));
    assert!(bulk_only.counts_every(Some(CallClass::Bulk)) && !bulk_only.counts_every(None));
}

#[test]
fn a_call_costs_by_its_kind_its_operations_or_its_bytes() {
    let bulk = Call { operations: 40, ..call(Method::POST, "Bulk", CallClass::Bulk, 1_000) };
    let fetch = call(Method::GET, "Users/{id}", CallClass::Single, 0);
    for (text, of_bulk) in [
        ("", 1),
        ("cost = \"request\"", 1),
        ("cost = \"bulk_operation\"", 40),
        ("cost_bytes = 500", 2),
        ("cost_bytes = 999", 2),
        ("cost_bytes = 1000", 1),
    ] {
        let cost = window(text).cost;
        assert_eq!((cost.of(&bulk), cost.of(&fetch)), (of_bulk, 1), "{text}");
    }
}

#[test]
fn the_burst_is_small_unless_it_is_said_or_calls_differ_in_cost() {
    for (text, burst) in [("", 1), ("cost = \"bulk_operation\"", 2), ("burst = 7", 7), ("burst = 700", 20)] {
        assert_eq!(window(text).burst().get(), burst, "{text}");
    }
}

#[test]
fn what_a_window_cannot_mean_is_refused() {
    for text in [
        "methods = [\"get\"]",
        "resources = [\"people\"]",
        "cost_bytes = 0",
        "cost = \"request\"\ncost_bytes = 1",
        "colour = 1",
        "limit = 0",
    ] {
        let text = format!("limit = 20\nper = \"30s\"\n{text}");
        assert!(toml::from_str::<Window>(&text).is_err(), "{text}");
    }
}
