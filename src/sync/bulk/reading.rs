//! What became of a bulk request: of the whole, and of each operation. Pure.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::scim::bulk::answer::{self, Entry};
use crate::scim::bulk::request::Operation;
use crate::target::verdict::Verdict;
use crate::target::{Answer, Call, CallError, CallFacts, Profile, judge};

/// What became of the whole request: each case is something else to do.
#[derive(Debug)]
pub(super) enum Whole {
    /// Each operation has its own answer, or none.
    Each(Vec<Option<Answer>>),
    /// The same is true of every operation.
    All(Verdict),
    /// Nothing was done; a smaller request may be.
    TooLarge,
    /// Nothing was done, and the vendor takes no such requests from us.
    Unsupported {
        /// For people.
        reason: String,
    },
    /// Nothing was done, for a reason that may lie in one of the operations.
    Refused {
        /// The status.
        status: StatusCode,
    },
}

/// Reads the outcome of `call`, in which `operations` were sent.
pub(super) fn read(
    profile: &Profile,
    call: &Call,
    operations: &[Operation],
    outcome: Result<&Answer, &CallError>,
) -> Whole {
    if let Ok(answer) = outcome {
        // A scope that only bulk requests need makes 403 no fault of the target; if it is one, the
        // next single call says so.
        if matches!(answer.status.as_u16(), 403 | 404 | 405 | 501) {
            return Whole::Unsupported { reason: format!("{} answered {}", call.endpoint, answer.status) };
        }
        if answer.status.is_success()
            && let Ok(entries) = answer::parse(&answer.body)
        {
            let answers = answer::correlate(operations, entries);
            return Whole::Each(answers.into_iter().map(|entry| entry.and_then(own_answer)).collect());
        }
    }
    match judge(profile, &CallFacts::from(call), outcome) {
        Verdict::TooLarge { .. } => Whole::TooLarge,
        Verdict::Refused { status, .. } => Whole::Refused { status },
        Verdict::Stale | Verdict::Taken { .. } | Verdict::Missing => {
            Whole::Refused { status: outcome.map_or(StatusCode::BAD_REQUEST, |answer| answer.status) }
        }
        // Success of what, nobody can say.
        Verdict::Done { .. } => Whole::All(Verdict::Unknown),
        verdict @ (Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::Unknown
        | Verdict::NotSent
        | Verdict::TargetFault { .. }) => Whole::All(verdict),
    }
}

/// The answer that an operation would have had alone.
fn own_answer(entry: Entry) -> Option<Answer> {
    let status = StatusCode::from_u16(entry.status?).ok()?;
    let body = match entry.response {
        Some(response @ Value::Object(_)) => Some(response),
        // Some vendors give a reason in a word.
        Some(Value::String(words)) if !status.is_success() => Some(json!({ "detail": words })),
        Some(Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {
            None
        }
    };
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    Some(Answer { etag: entry.version, location: entry.location, body, ..Answer::new(status) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::requests;

    fn operation(method: &str, path: &str, bulk_id: &str) -> Operation {
        Operation {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            bulk_id: bulk_id.to_owned(),
            version: None,
            data: None,
        }
    }

    fn read_answer(outcome: Result<&Answer, &CallError>) -> Whole {
        let profile = Profile::builtin("rfc7644").unwrap();
        let call = requests::bulk(&profile, Vec::new(), 2);
        read(&profile, &call, &[operation("POST", "Users", "a"), operation("PATCH", "Users/7", "b")], outcome)
    }

    fn answered(status: u16, body: &Value) -> Whole {
        let body = Bytes::from(body.to_string());
        read_answer(Ok(&Answer { body, ..Answer::new(StatusCode::from_u16(status).unwrap()) }))
    }

    #[test]
    fn each_entry_is_the_answer_that_the_operation_would_have_had_alone() {
        for status in [200, 207] {
            let whole = answered(
                status,
                &json!({"Operations": [
                    {"bulkId": "b", "status": "409", "response": "Conflict"},
                    {"bulkId": "a", "status": "201", "location": "https://x/Users/9", "version": "W/\"1\""},
                ]}),
            );
            let Whole::Each(answers) = whole else { panic!("{whole:?}") };
            let [Some(made), Some(refused)] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!((made.status, made.body.len()), (StatusCode::CREATED, 0));
            assert_eq!(made.location.as_deref(), Some("https://x/Users/9"));
            assert_eq!(made.etag.as_ref().unwrap().as_str(), "W/\"1\"");
            assert_eq!(refused.status, StatusCode::CONFLICT);
            assert_eq!(refused.body, r#"{"detail":"Conflict"}"#);
        }
        let whole = answered(200, &json!({"Operations": [{"bulkId": "b", "status": "200"}]}));
        assert!(
            matches!(&whole, Whole::Each(answers) if answers[0].is_none() && answers[1].is_some()),
            "{whole:?}"
        );
    }

    #[test]
    fn a_failure_of_the_whole_is_told_by_its_status() {
        let error = |status: u16, scim_type: &str| json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string(), "scimType": scim_type});
        for status in [403, 404, 405, 501] {
            assert!(matches!(answered(status, &json!({})), Whole::Unsupported { .. }), "{status}");
        }
        for (status, scim_type) in [(413, ""), (400, "tooMany")] {
            assert!(matches!(answered(status, &error(status, scim_type)), Whole::TooLarge), "{status}");
        }
        for status in [400, 409, 412, 422] {
            assert!(matches!(answered(status, &error(status, "")), Whole::Refused { .. }), "{status}");
        }
        assert!(matches!(answered(429, &json!({})), Whole::All(Verdict::Throttled { .. })));
        assert!(matches!(answered(502, &json!({})), Whole::All(Verdict::Transient { unknown: true, .. })));
        assert!(matches!(answered(401, &json!({})), Whole::All(Verdict::TargetFault { .. })));
        let lost = CallError::Unknown { source: "reset".into() };
        assert!(matches!(read_answer(Err(&lost)), Whole::All(Verdict::Unknown)));
        let unreached = CallError::NotSent { source: "refused".into() };
        assert!(matches!(read_answer(Err(&unreached)), Whole::All(Verdict::NotSent)));
    }

    #[test]
    fn success_without_a_list_tells_nothing_of_any_operation() {
        for body in [json!({}), json!({"totalResults": 0})] {
            assert!(matches!(answered(200, &body), Whole::All(Verdict::Unknown)), "{body}");
        }
        let empty = Answer::new(StatusCode::NO_CONTENT);
        assert!(matches!(read_answer(Ok(&empty)), Whole::All(Verdict::Unknown)));
    }
}
