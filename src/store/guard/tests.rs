use proptest::prelude::*;

use super::*;

#[test]
fn a_small_company_can_part_with_somebody_and_a_large_one_with_no_more_than_the_limit() {
    let guard = Guard::default();
    for (accounts, allowed) in [(0, 3), (5, 3), (19, 3), (40, 4), (300, 30), (500, 50), (100_000, 50)] {
        assert_eq!(guard.allowed(accounts), allowed, "{accounts} accounts");
    }
    assert_eq!(
        (guard.needs(Meter::Accounts, 2), guard.needs(Meter::Accounts, 3)),
        (Needs::Nothing, Needs::Accounts(40))
    );
}

#[test]
fn a_limit_of_zero_lets_nobody_go_without_a_person() {
    let guard = Guard { max_destructive: 0, max_removals: 0, ..Guard::default() };
    assert_eq!(guard.allowed(1_000), 0);
    assert_eq!(guard.needs(Meter::Accounts, 0), Needs::APerson);
    assert_eq!(guard.needs(Meter::Memberships, 0), Needs::APerson);
}

#[test]
fn memberships_are_counted_by_their_own_limit() {
    let guard = Guard { max_removals: 2, ..Guard::default() };
    assert_eq!(guard.needs(Meter::Memberships, 1), Needs::Nothing);
    assert_eq!(guard.needs(Meter::Memberships, 2), Needs::APerson);
}

#[test]
fn a_listing_that_lacks_too_many_is_held() {
    let guard = Guard::default();
    assert_eq!(guard.judge_listing(50, 500), ListingVerdict::Allowed);
    assert_eq!(guard.judge_listing(51, 500), ListingVerdict::Hold { allowed: 50 });
    assert_eq!(guard.judge_listing(2, 10), ListingVerdict::Allowed);
    assert_eq!(guard.judge_listing(10, 10), ListingVerdict::Hold { allowed: 3 });
    assert_eq!(guard.judge_listing(0, 0), ListingVerdict::Allowed);
}

proptest! {
    #[test]
    fn what_one_more_needs_agrees_with_what_is_allowed(
        max_destructive in 0_u64..200,
        max_percent in 0.0_f64..=100.0,
        always_allowed in 0_u64..10,
        done in 0_u64..250,
        accounts in 0_u64..5_000,
    ) {
        let guard = Guard { max_destructive, max_percent, always_allowed, ..Guard::default() };
        let goes = match guard.needs(Meter::Accounts, done) {
            Needs::Nothing => true,
            Needs::Accounts(needed) => accounts >= needed,
            Needs::APerson => false,
        };
        prop_assert_eq!(goes, done < guard.allowed(accounts));
    }
}
