use http::StatusCode;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_000);

fn yes() -> Bulk {
    Bulk { supported: BulkSupport::Yes, ..Bulk::default() }
}

fn state(mode: BulkMode, bulk: &Bulk) -> BulkState {
    BulkState::new(mode, bulk)
}

fn operations(state: &BulkState) -> usize {
    let Standing::On(limits) = state.standing(NOW) else { panic!("{:?}", state.standing(NOW)) };
    limits.operations
}

#[test]
fn the_configuration_and_the_profile_rule_them_out_before_anybody_is_asked() {
    let no = Bulk { supported: BulkSupport::No, ..Bulk::default() };
    let dear = Bulk { cost_per_operation: 1, ..yes() };
    for (mode, bulk, expected) in [
        (BulkMode::Off, yes(), Standing::Off),
        (BulkMode::Auto, no, Standing::Off),
        (BulkMode::Auto, dear, Standing::Off),
        (BulkMode::Auto, Bulk::default(), Standing::Ask),
        (BulkMode::Auto, yes(), Standing::On(BulkLimits { operations: 100, bytes: 1_048_576 })),
    ] {
        assert_eq!(state(mode, &bulk).standing(NOW), expected, "{mode:?} {bulk:?}");
    }
}

#[test]
fn the_profiles_limits_go_before_the_services_and_neither_has_no_end() {
    let profile = Bulk { max_operations: std::num::NonZeroU32::new(50), ..Bulk::default() };
    for (bulk, said, expected) in [
        (&profile, Said { operations: Some(1_000), bytes: Some(9_000) }, (50, 9_000)),
        (&Bulk::default(), Said { operations: Some(70), bytes: None }, (70, 1_048_576)),
        (&Bulk::default(), Said { operations: Some(9_999), bytes: Some(usize::MAX) }, (1_000, 8_388_608)),
    ] {
        let asked = state(BulkMode::Auto, bulk);
        asked.said(bulk, Some(said), NOW);
        let (operations, bytes) = expected;
        assert_eq!(asked.standing(NOW), Standing::On(BulkLimits { operations, bytes }));
    }
    let none = state(BulkMode::Auto, &Bulk::default());
    none.said(&Bulk::default(), None, NOW);
    assert_eq!(none.standing(NOW), Standing::Off);
}

#[test]
fn what_is_too_large_is_halved_for_good_and_what_is_not_answered_for_a_while() {
    let state = state(BulkMode::Auto, &yes());
    assert_eq!(state.learn(&Whole::TooLarge, 100, NOW), News::Operations(50));
    assert_eq!(operations(&state), 50);
    assert_eq!(state.learn(&Whole::All(Verdict::Unknown), 50, NOW), News::None);
    assert_eq!(operations(&state), 25);
    state.learn(&Whole::Each(vec![]), 25, NOW);
    state.learn(&Whole::Each(vec![]), 50, NOW);
    assert_eq!(operations(&state), 50, "grown again, but not over what was refused");
    let restarted = self::state(BulkMode::Auto, &yes());
    restarted.take_up(&json!({ OPERATIONS: { "value": 50 } }));
    assert_eq!(operations(&restarted), 50);
}

#[test]
fn they_are_turned_off_for_a_day_and_over_a_restart() {
    let gone = || Whole::Unsupported { reason: "Bulk answered 501".to_owned() };
    let state = state(BulkMode::Auto, &yes());
    assert_eq!(state.learn(&gone(), 9, NOW), News::Off("Bulk answered 501".to_owned()));
    assert_eq!(state.standing(NOW), Standing::Off);
    assert_ne!(state.standing(NOW.after(OFF_LASTS)), Standing::Off);
    let restarted = self::state(BulkMode::Auto, &yes());
    restarted.take_up(&json!({ OFF: { "at": NOW.to_string(), "why": "Bulk answered 501" } }));
    assert_eq!(restarted.standing(NOW.after(Duration::from_hours(23))), Standing::Off);
    assert_ne!(restarted.standing(NOW.after(OFF_LASTS)), Standing::Off);
}

#[test]
fn refusals_in_a_row_turn_them_off_and_one_that_is_taken_ends_the_row() {
    let refused = || Whole::Refused { status: StatusCode::BAD_REQUEST };
    let state = state(BulkMode::Auto, &yes());
    for _ in 0..2 {
        state.learn(&refused(), 9, NOW);
    }
    state.learn(&Whole::Each(vec![]), 9, NOW);
    for _ in 0..2 {
        assert_eq!(state.learn(&refused(), 9, NOW), News::None);
    }
    assert!(matches!(state.learn(&refused(), 9, NOW), News::Off(_)));
}

#[test]
fn a_person_can_see_whether_they_are_on_how_large_and_why_not_until_when() {
    let told = |mode, bulk: &Bulk| state(mode, bulk).report(NOW);
    let off = told(BulkMode::Off, &yes());
    assert_eq!((off.state, off.until), ("off", None));
    assert_eq!(off.reason.as_deref(), Some("the configuration says so"));
    assert_eq!(told(BulkMode::Auto, &Bulk::default()).state, "unknown");
    let one = Bulk { max_operations: std::num::NonZeroU32::new(1), ..yes() };
    assert!(told(BulkMode::Auto, &one).reason.is_some_and(|reason| reason.contains("fewer than two")));

    let state = state(BulkMode::Auto, &yes());
    let on = state.report(NOW);
    assert_eq!((on.state, on.operations_max, on.bytes_max), ("on", Some(100), Some(1_048_576)));
    assert_eq!((on.reason, on.learned_operations_max), (None, None));
    state.learn(&Whole::TooLarge, 100, NOW);
    let smaller = state.report(NOW);
    assert_eq!((smaller.operations_max, smaller.learned_operations_max), (Some(50), Some(50)));
    state.learn(&Whole::Unsupported { reason: "Bulk answered 501".to_owned() }, 9, NOW);
    let gone = state.report(NOW);
    assert_eq!((gone.state, gone.until), ("off", Some(NOW.after(OFF_LASTS))));
    assert_eq!(gone.reason.as_deref(), Some("Bulk answered 501"));
    let restarted = self::state(BulkMode::Auto, &yes());
    restarted.take_up(&json!({ OFF: { "at": NOW.to_string(), "why": "Bulk answered 501" } }));
    assert_eq!(restarted.report(NOW).reason, gone.reason);
    assert_eq!(restarted.report(NOW.after(OFF_LASTS)).state, "on", "and after a day they are tried again");
}
