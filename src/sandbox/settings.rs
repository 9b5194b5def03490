//! How the vendor in the box behaves. Every knob's default is the strict RFC.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::sandbox::fault::Fault;
use crate::sandbox::quirks::Quirks;
use crate::target::profile::{QuotaHeaders, Window};

/// What to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The vendor's habits.
    pub behaviour: Behaviour,
    /// What goes wrong, until it is replaced over `PUT /_sandbox/faults`.
    pub faults: Vec<Fault>,
    /// How long every SCIM request takes at least.
    pub latency: Duration,
    /// Seed of everything that is left to chance: faults and ids.
    pub seed: u64,
    /// How many requests the log keeps; the totals count all of them.
    pub log_entries_max: usize,
    /// The largest request body, in bytes; more is a 413.
    pub body_bytes_max: usize,
    /// Display names of groups that are there from the start, as at vendors that let nobody create them.
    pub groups: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            behaviour: Behaviour::default(),
            faults: Vec::new(),
            latency: Duration::ZERO,
            seed: 0,
            log_entries_max: 100_000,
            body_bytes_max: 64 * 1024 * 1024,
            groups: Vec::new(),
        }
    }
}

/// A vendor's habits.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Path of the SCIM service, with a leading slash and none at the end.
    pub base_path: String,
    /// Name of the users' resource under the base path; compared with case.
    pub users_path: String,
    /// Name of the groups' resource under the base path; compared with case.
    pub groups_path: String,
    /// Name of the service provider configuration under the base path; compared with case. Where it is in
    /// lower case, so are the names of the resource types and schemas.
    pub config_path: String,
    /// Whether a resource that is sent must name its schema.
    pub schemas_required: bool,
    /// Who may call.
    pub auth: Auth,
    /// Versions and conditions.
    pub etag: Versions,
    /// Limit over all SCIM requests; the token endpoint has none.
    pub rate: Option<RateLimit>,
    /// Lists.
    pub paging: Paging,
    /// Rules for users.
    pub users: UserRules,
    /// Rules for groups.
    pub groups: GroupRules,
    /// What a refusal of a value that another resource holds says of that one.
    pub holder: HolderTold,
    /// What a PATCH that went well answers. `attributes` in the query asks for a body in any case.
    pub patch_answer: PatchAnswer,
    /// The most operations in one PATCH.
    pub patch_operations_max: Option<Cap>,
    /// Several operations in one request; `None` answers 501.
    pub bulk: Option<BulkRules>,
    /// Where it departs from the RFC as its profile says.
    pub quirks: Quirks,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            base_path: "/scim/v2".to_owned(),
            users_path: "Users".to_owned(),
            groups_path: "Groups".to_owned(),
            config_path: "ServiceProviderConfig".to_owned(),
            schemas_required: true,
            auth: Auth::Open,
            etag: Versions::default(),
            rate: None,
            paging: Paging::default(),
            users: UserRules::default(),
            groups: GroupRules::default(),
            holder: HolderTold::Nowhere,
            patch_answer: PatchAnswer::Body,
            patch_operations_max: None,
            bulk: None,
            quirks: Quirks::default(),
        }
    }
}

/// Where a refusal says which resource holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderTold {
    /// It does not.
    Nowhere,
    /// In the `Location` header.
    Header,
    /// In `meta.location` of the body.
    Body,
}

/// Who may call.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everyone.
    Open,
    /// Whoever sends one of these bearer tokens.
    Bearer(Vec<SecretString>),
    /// Whoever sends a bearer token that `POST /oauth/token` gave for these client credentials.
    OAuth2 {
        /// The client's name.
        client_id: String,
        /// The client's secret, in Basic authentication or in the form.
        client_secret: SecretString,
        /// How long a token is good.
        token_life: Duration,
    },
}

/// Versions and conditions, RFC 7644 section 3.14.
#[derive(Clone, Debug)]
pub struct Versions {
    /// `"42"` or `W/"42"`.
    pub form: ETagForm,
    /// Sends the `ETag` header.
    pub header: bool,
    /// Fills in `meta.version`.
    pub meta_version: bool,
    /// What `If-Match` does.
    pub if_match: IfMatch,
    /// What a stale `If-Match` gets.
    pub stale: Stale,
    /// Answers 304 to an `If-None-Match` that matches.
    pub if_none_match: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            form: ETagForm::Weak,
            header: true,
            meta_version: true,
            if_match: IfMatch::Enforced,
            stale: Stale::PreconditionFailed,
            if_none_match: true,
        }
    }
}

/// How a tag is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ETagForm {
    /// `"42"`
    Strong,
    /// `W/"42"`
    Weak,
}

/// What `If-Match` on PUT, PATCH and DELETE does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// A stale one is refused.
    Enforced,
    /// As enforced, and a write without one is refused with 428.
    Required,
    /// Nothing, as with a vendor whose framework sends an `ETag` that nobody checks.
    Ignored,
}

/// What a stale `If-Match` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// 412
    PreconditionFailed,
    /// 409
    Conflict,
    /// 400 with `invalidVers`
    InvalidVers,
}

/// A token bucket over all SCIM requests, or several windows.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Kept exactly, and instead of the bucket where there are any.
    pub windows: Vec<Window>,
    /// The headers in which the fullest of the windows that counted a request is told.
    pub quota: Option<QuotaHeaders>,
    /// How fast the bucket fills.
    pub per_second: f64,
    /// How many requests a full bucket holds; at least 1.
    pub burst: u32,
    /// How a 429 says when to come back.
    pub retry_after: RetryAfter,
    /// Sends `inin-ratelimit-count`, `-allowed` and `-reset` with every answer where a bucket limits.
    pub vendor_headers: bool,
}

impl RateLimit {
    /// A limit that tells seconds and sends no headers of its own.
    pub const fn new(per_second: f64, burst: u32) -> Self {
        Self {
            windows: Vec::new(),
            quota: None,
            per_second,
            burst,
            retry_after: RetryAfter::Seconds,
            vendor_headers: false,
        }
    }
}

/// How a 429 says when to come back, RFC 9110 section 10.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Whole seconds, rounded up.
    Seconds,
    /// A date; rounded up to a second that the caller can trust.
    HttpDate,
    /// Not at all.
    Absent,
}

/// Lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Page size when none is asked for.
    pub count_default: usize,
    /// Page size at most, whatever is asked for.
    pub count_max: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self { count_default: 100, count_max: 1_000 }
    }
}

/// Rules for users.
#[derive(Clone, Copy, Debug)]
pub struct UserRules {
    /// No two users share an `externalId`.
    pub external_id_unique: bool,
    /// Lists without a filter leave out users that are not active.
    pub hide_inactive: bool,
    /// Filters do not find users that are not active, though these hold their names.
    pub filters_pass_inactive: bool,
    /// What DELETE does.
    pub delete: DeleteUser,
}

impl Default for UserRules {
    fn default() -> Self {
        Self {
            external_id_unique: false,
            hide_inactive: false,
            filters_pass_inactive: false,
            delete: DeleteUser::Remove,
        }
    }
}

/// What DELETE of a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteUser {
    /// The user is gone, and out of all groups.
    Remove,
    /// The user stays, and is not active.
    Deactivate,
    /// Nothing: 405.
    Refused,
}

/// Rules for groups.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own that a vendor has or has not")]
pub struct GroupRules {
    /// Whether groups may be created.
    pub create: Support,
    /// Whether groups may be deleted.
    pub delete: Support,
    /// No two groups share a `displayName`.
    pub display_name_unique: bool,
    /// No two groups share an `externalId`.
    pub external_id_unique: bool,
    /// Answers carry `members`.
    pub members_returned: bool,
    /// Members carry `display`. The RFC's own schema of a group (RFC 7643 section 8.7.1) does not have it.
    pub members_display: bool,
    /// The most members that one PATCH may add and remove.
    pub members_max: Option<Cap>,
    /// A `replace` of the whole `members` attribute is allowed.
    pub members_replace: bool,
    /// What adding an id that is nobody's does.
    pub unknown_member: UnknownMember,
    /// Members that are refused with 400, by id, `userName` or `externalId`.
    pub poison_members: BTreeSet<String>,
    /// What removing someone who is not a member does.
    pub absent_member: AbsentMember,
    /// What `remove` at `members` with an array of values does.
    pub remove_with_value: RemoveWithValue,
}

impl Default for GroupRules {
    fn default() -> Self {
        Self {
            create: Support::Yes,
            delete: Support::Yes,
            display_name_unique: false,
            external_id_unique: false,
            members_returned: true,
            members_display: false,
            members_max: None,
            members_replace: true,
            unknown_member: UnknownMember::InvalidValue,
            poison_members: BTreeSet::new(),
            absent_member: AbsentMember::Accepted,
            remove_with_value: RemoveWithValue::Refused,
        }
    }
}

/// Whether an operation exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// 405
    MethodNotAllowed,
    /// 501
    NotImplemented,
}

/// A number that may not be passed, and what passing it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The number.
    pub most: usize,
    /// The answer.
    pub over: OverCap,
}

/// What passing a cap gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverCap {
    /// 413
    PayloadTooLarge,
    /// 400 with `tooMany`
    TooMany,
    /// 400 that does not say why
    BadRequest,
}

/// What adding an id that is nobody's does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownMember {
    /// It becomes a member all the same.
    Accepted,
    /// 400 with `invalidValue`
    InvalidValue,
    /// 404
    NotFound,
}

/// What removing someone who is not a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentMember {
    /// Nothing: success.
    Accepted,
    /// 400 with `noTarget`
    NoTarget,
    /// 404
    NotFound,
    /// 422
    Unprocessable,
}

/// What `remove` at `members` with an array of values does. Vendors differ dangerously here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveWithValue {
    /// 400 with `invalidValue`
    Refused,
    /// Those members are removed.
    RemovesThose,
    /// The value is not looked at, and the group is empty afterwards.
    EmptiesGroup,
}

/// What a PATCH that went well answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchAnswer {
    /// 200 with the resource.
    Body,
    /// 204
    NoContent,
}

/// Several operations in one request, RFC 7644 section 3.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own that a vendor has or has not")]
pub struct BulkRules {
    /// Whether the `ServiceProviderConfig` says that there is such an endpoint.
    pub announced: bool,
    /// The most operations in one request.
    pub operations_max: Cap,
    /// The largest request, in bytes.
    pub bytes_max: usize,
    /// The status of the whole answer: 200 by the RFC, 207 with some vendors.
    pub status: u16,
    /// The key of the list in the answer.
    pub key: &'static str,
    /// How each operation's status is written.
    pub status_form: StatusForm,
    /// Entries carry the `bulkId`.
    pub bulk_id: bool,
    /// Entries carry the method.
    pub method: bool,
    /// Entries carry the location.
    pub location: bool,
    /// Entries of operations that went well carry the resource.
    pub response: bool,
    /// A refusal's reason is a word instead of an error body.
    pub reason_in_a_word: bool,
    /// Entries come in the reverse order.
    pub reversed: bool,
    /// `version` is honoured as `If-Match` is.
    pub version: bool,
    /// Every nth operation is done, and left out of the answer.
    pub leaves_out_every: Option<u64>,
    /// Every nth operation is not done, and answered with this status.
    pub fails_every: Option<(u64, u16)>,
}

impl Default for BulkRules {
    fn default() -> Self {
        Self {
            announced: true,
            operations_max: Cap { most: 1_000, over: OverCap::PayloadTooLarge },
            bytes_max: 1024 * 1024,
            status: 200,
            key: "Operations",
            status_form: StatusForm::Text,
            bulk_id: true,
            method: true,
            location: true,
            response: false,
            reason_in_a_word: false,
            reversed: false,
            version: true,
            leaves_out_every: None,
            fails_every: None,
        }
    }
}

/// How a bulk answer writes a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// `"201"`
    Text,
    /// `201`
    Number,
    /// `{"code": "201"}`
    Code,
}
