//! What holds where a profile says nothing: the way of RFC 7644.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{
    AddForm, AuthHints, CredentialStyle, EtagTrust, Etags, Filters, Groups, Http, Lists, Members,
    MembersRead, OpCase, Patch, PatchAnswer, PathFilters, Pathless, RemoveAbsent, RemoveForm, Users,
};

impl Default for Http {
    fn default() -> Self {
        Self {
            users_path: "Users".to_owned(),
            groups_path: "Groups".to_owned(),
            probe_path: "ServiceProviderConfig".to_owned(),
            content_type: "application/scim+json".to_owned(),
            accept: "application/scim+json, application/json".to_owned(),
            user_agent: None,
            timeout: Duration::from_secs(30),
            body_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Default for AuthHints {
    fn default() -> Self {
        Self {
            token_url: None,
            style: CredentialStyle::Basic,
            scopes: Vec::new(),
            expiry_margin: Duration::from_mins(1),
        }
    }
}

impl Default for Etags {
    fn default() -> Self {
        Self { trust: EtagTrust::Enforced, stale: Vec::new() }
    }
}

impl Default for Patch {
    fn default() -> Self {
        Self {
            supported: true,
            path_filters: PathFilters::Full,
            pathless: Pathless::None,
            op_case: OpCase::Lower,
            bool_as_string: false,
            answer: PatchAnswer::Body,
        }
    }
}

impl Default for Members {
    fn default() -> Self {
        Self {
            add_form: AddForm::Array,
            remove_form: RemoveForm::PathFilter,
            max_per_request: HUNDRED,
            max_per_create: 100,
            max_bytes: None,
            send_ref: false,
            send_type: false,
            read: MembersRead::Get,
            read_cap: None,
            remove_absent: RemoveAbsent::Ok,
        }
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            supported: true,
            create: true,
            delete: true,
            create_with_members: true,
            match_attribute: "displayName".to_owned(),
            writable_attributes: Vec::new(),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self {
            create: true,
            strip: Vec::new(),
            match_attribute: "userName".to_owned(),
            username_is_email: false,
            required: Vec::new(),
            immutable: Vec::new(),
            multi_valued: true,
        }
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self { or: true, attributes: Vec::new(), group_attributes: None }
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self { max_count: HUNDRED, default_count: HUNDRED, includes_inactive: true, includes_members: true }
    }
}

const HUNDRED: NonZeroU32 = NonZeroU32::new(100).expect("100 is over zero");
