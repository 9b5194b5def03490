//! What every store must do, as tests that any implementation runs.
//!
//! A store offers a [`Home`] (one empty database that can be opened again and again) and calls
//! [`suite!`] in its tests; each rule becomes one test. The parts are [`intake`], [`projection`],
//! [`work`], [`members`], [`derived`], [`targets`], [`leases`], [`errands`], [`feeds`],
//! [`retention`], [`holds`], [`resyncs`], [`admin`] and [`timeline`]; [`scene`] is what they share,
//! [`script`] stands in for the sources and draws random streams.

pub mod admin;
pub mod derived;
pub mod errands;
pub mod feeds;
pub mod holds;
pub mod intake;
pub mod leases;
pub mod members;
pub mod projection;
pub mod resyncs;
pub mod retention;
pub mod scene;
pub mod script;
pub mod targets;
pub mod timeline;
pub mod work;

use std::sync::Arc;

use async_trait::async_trait;

use crate::store::{Store, StoreError};

/// One database, empty at first.
#[async_trait]
pub trait Home: Send + Sync {
    /// Opens the database as the start of a relay does. Whoever opened it before has let go of it.
    async fn open(&self) -> Arc<dyn Store>;
}

/// The answer of a store that is expected to work.
pub fn must<T>(answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("the store failed: {error:?}"),
    }
}

/// Makes one test of each rule. The argument is an expression that makes a new [`Home`].
#[macro_export]
macro_rules! store_conformance {
    ($home:expr) => {
        $crate::store::conformance::suite! { @rules $home;
            intake {
                an_event_is_new_once_and_a_duplicate_ever_after,
                of_many_at_once_with_one_id_exactly_one_is_new,
                what_was_answered_outlives_the_process,
                a_body_is_kept_byte_for_byte,
            }
            projection {
                any_batching_gives_what_one_merge_gives,
                any_order_and_repetition_gives_the_same_directory,
                who_loses_access_is_merged_ahead_of_others,
                an_event_that_cannot_be_read_is_kept_and_tried_again_at_the_next_start,
                a_change_that_says_nothing_new_makes_no_work,
                a_time_that_is_absent_is_the_time_of_receipt,
                projection_goes_on_where_it_stopped_after_a_restart,
                projections_at_the_same_time_merge_each_event_once,
                only_targets_that_follow_the_directory_are_woken,
            }
            work {
                lanes_follow_what_is_desired,
                who_has_an_account_and_leaves_a_scope_is_a_leaver,
                due_rows_come_oldest_first_and_not_before_their_time,
                finishing_removes_the_row_and_tells_how_long_it_took,
                a_row_that_has_moved_on_is_due_whatever_became_of_the_call,
                a_retry_comes_back_when_it_is_due,
                a_wait_is_looked_at_again_and_is_not_pending,
                a_change_makes_any_row_due_at_once,
                a_call_of_unknown_outcome_stays_noted,
                a_change_that_may_have_been_done_is_noted_until_something_is_known,
                a_link_is_kept_as_it_was_given,
                a_resource_that_is_no_work_is_not_loaded,
                work_and_links_outlive_the_process,
            }
            members {
                memberships_are_loaded_in_order_and_in_chunks,
                a_group_with_memberships_left_is_not_finished,
                who_may_just_have_been_created_is_not_known_to_be_absent,
                a_group_that_waits_is_woken_when_its_user_is_linked,
                a_group_that_is_done_is_woken_when_its_user_is_linked,
                a_wait_for_a_user_who_is_linked_already_is_due_at_once,
                a_user_who_is_linked_during_a_call_wakes_the_group_after_it,
                a_user_whom_nobody_looked_for_gets_work_when_waited_for,
                a_user_whom_the_vendor_has_forgotten_is_a_member_to_send_again,
                a_member_that_was_lost_during_a_groups_call_is_sent_again,
                only_a_linked_user_ends_a_wait,
                a_membership_that_changed_meanwhile_ends_its_wait,
                a_user_waits_for_its_manager,
                a_parked_member_is_left_out_until_it_is_retried,
                an_event_says_that_its_member_waits_or_is_parked,
                a_parked_member_that_changes_is_sent_again,
                a_discarded_member_stays_out,
                a_parked_member_whose_account_is_gone_waits_for_another_one,
                who_is_no_member_by_the_directory_is_a_stranger,
                nobody_is_a_stranger_while_it_is_not_known_who_each_member_is,
            }
            derived {
                a_judgement_makes_a_member_and_work,
                who_belongs_no_more_leaves_by_the_revoking_lane,
                a_group_that_no_judgement_names_keeps_its_members,
                a_judgement_counts_however_the_call_ended,
                a_derived_group_gathers_members_while_users_are_to_be_judged,
                each_target_has_derived_groups_of_its_own,
                a_derived_member_waits_for_its_user,
                a_derived_member_that_was_parked_is_retried,
                a_user_whom_the_vendor_has_forgotten_is_sent_to_its_derived_groups_again,
                a_backfill_looks_at_derived_groups_too,
                derived_groups_of_another_directory_are_forgotten,
                a_derived_membership_that_ended_is_kept_until_it_was_told,
            }
            targets {
                a_new_target_gets_all_that_the_directory_holds,
                enrolling_again_changes_nothing,
                a_target_that_follows_another_directory_starts_anew,
                a_backfill_makes_all_that_the_directory_holds_due_again,
                a_retired_target_gets_no_work_and_catches_up_when_it_is_back,
                who_was_deposed_commits_nothing,
                state_and_memory_of_a_target_are_kept,
            }
            leases {
                a_lease_that_lasts_is_taken_by_nobody_else,
                a_lease_that_is_handed_back_is_free_at_once,
                attending_renews_and_tells_who_holds_what,
                who_left_takes_no_part_and_keeps_its_leases,
                what_a_deposed_replica_hands_back_is_not_its_successors,
            }
            errands {
                a_burst_about_one_record_is_one_errand,
                an_errand_is_taken_by_one_until_its_time_is_over,
                what_is_wanted_again_meanwhile_is_run_again,
                what_failed_keeps_its_time_and_says_why,
                that_a_record_is_absent_is_remembered_until_it_is_wanted_again,
                what_events_leave_to_be_read_is_noted_as_they_are_merged,
                topics_are_apart_and_what_is_no_record_is_not_counted_as_one,
                everybody_who_is_known_by_a_sources_ids_is_wanted_and_nobody_else,
                what_is_remembered_of_a_source_is_kept_by_name,
            }
            feeds {
                one_replica_holds_a_feed_until_it_lets_go_or_its_term_ends,
                what_is_remembered_of_a_feed_outlives_the_process,
                consent_stays_until_it_is_spent,
                what_was_said_of_a_record_is_known_ever_after,
                a_snapshot_that_names_a_record_twice_is_told_so,
                who_was_there_and_was_not_seen_since_is_absent,
            }
            retention {
                events_go_once_they_are_merged_and_old,
                an_event_that_cannot_be_read_outlasts_its_age,
                a_duplicate_is_known_for_a_week_whatever_is_configured,
                projection_goes_on_after_a_restart_with_every_event_gone,
                the_ledger_goes_by_its_own_age,
                what_is_alive_never_goes,
                a_deleted_user_goes_once_every_target_has_followed,
                a_user_who_comes_back_after_its_tombstone_went_is_new,
                a_deleted_user_stays_while_parked,
                a_deleted_user_goes_with_its_memberships_and_nobody_waits_for_it,
                a_membership_that_is_newer_than_its_users_deletion_keeps_the_tombstone,
                a_membership_that_ended_goes_once_every_target_was_told,
                a_group_that_is_not_linked_keeps_the_memberships_that_ended,
                a_deleted_group_goes_with_its_memberships,
                what_ended_long_ago_is_kept_from_when_the_relay_heard_of_it,
                pruning_goes_in_small_batches,
            }
            holds {
                what_is_over_the_limit_waits_in_one_hold,
                what_went_through_counts_once_over_restarts_until_its_window_is_over,
                a_share_of_the_accounts_is_what_goes_through,
                what_is_approved_goes_and_is_not_counted,
                what_is_rejected_stays_undone_until_something_newer_is_said,
                an_event_says_that_its_change_is_held_or_rejected,
                a_hold_that_nobody_decides_expires_and_lets_nothing_through,
                what_comes_to_nothing_is_withdrawn,
                a_decision_between_asking_and_recording_is_not_lost,
                who_leaves_takes_the_memberships_along,
                removals_of_those_who_stay_have_a_limit_of_their_own,
                who_was_deposed_is_let_nothing_through,
                what_is_held_stays_so_until_it_is_decided,
                users_are_read_as_the_directory_has_them,
                what_the_guard_noted_goes_with_age_but_for_a_rejection_that_counts,
            }
            resyncs {
                one_resync_of_a_target_is_under_way_at_a_time,
                a_resync_is_cancelled_until_it_has_ended,
                rows_are_fresh_once_and_come_in_the_order_of_their_names,
                what_a_resync_knows_outlives_the_process,
                what_ended_resyncs_have_seen_is_forgotten_and_old_reports_go_with_newer_ones,
                a_step_forgets_keeps_and_claims_at_once,
                what_nobody_has_is_named_page_by_page,
                a_probe_meets_rows_by_name_external_id_or_value,
                what_is_expected_is_what_planning_knows,
                what_is_named_is_expected_and_no_other,
                groups_that_a_target_derives_are_expected_and_mended,
                expected_memberships_come_in_the_order_of_their_users,
                what_is_linked_and_what_is_held_are_counted,
                what_drifted_is_due_in_the_lane_that_its_access_wants,
                a_mark_has_the_vendor_looked_at_again,
                a_drifted_membership_is_sent_again_and_no_other,
                what_was_parked_is_tried_again_once_it_drifted,
                who_was_deposed_marks_nothing,
            }
            admin {
                no_event_is_ever_out_of_sight,
                status_counts_each_row_in_one_place,
                the_oldest_pending_change_is_known,
                who_waits_is_listed_as_it_is_counted,
                parked_work_is_retried_or_discarded,
                pages_hold_everything_once,
                a_cursor_that_no_page_answered_ends_the_list,
                an_event_tells_what_became_of_each_change,
                an_event_is_found_by_number_and_by_the_senders_id,
                the_ledger_names_the_events_and_filters,
                what_a_person_does_is_told_with_the_name,
                the_ledger_past_what_was_told_comes_once_in_each_targets_order,
                what_is_protected_is_not_told_as_applied,
                any_resource_has_a_dossier,
                a_ping_writes,
            }
            timeline {
                a_story_tells_changes_memberships_and_calls_in_either_order,
                a_deleted_users_story_names_its_deletion_once,
                who_stands_where_and_why_is_known,
                what_is_ordered_is_due_first_even_where_it_was_parked_or_done,
                memberships_in_a_story_go_with_their_event,
                a_story_tells_what_was_held_and_what_was_repeated,
            }
        }
    };
    (@rules $home:expr; $($part:ident { $($rule:ident,)+ })+) => {
        $(mod $part {
            use super::*;
            $(
                #[tokio::test]
                async fn $rule() {
                    $crate::store::conformance::$part::$rule(&$home).await;
                }
            )+
        })+
    };
}

pub use store_conformance as suite;
