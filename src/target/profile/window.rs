//! One window of a vendor's rate limit: which calls it counts, and what each costs.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::limits::duration;
use crate::target::call::{Call, CallClass};

const PER_MAX: Duration = Duration::from_hours(24);

/// Never more than `limit` in any stretch of `per`. A call takes its cost from every window that
/// counts it, from all of them at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Window {
    /// So much.
    pub limit: NonZeroU32,
    /// In so much time.
    pub per: Duration,
    /// What may go at once after a quiet time; absent: a 64th of the limit, or a tenth of it where
    /// calls differ in cost. At least 1 and at most the limit.
    pub burst: Option<NonZeroU32>,
    /// What a call costs.
    pub cost: Cost,
    /// Which calls it counts.
    pub scope: Scope,
}

/// A window as it stands in a profile: its scope is not a table of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    limit: NonZeroU32,
    #[serde(with = "duration")]
    per: Duration,
    burst: Option<NonZeroU32>,
    cost: Option<Unit>,
    cost_bytes: Option<NonZeroU32>,
    #[serde(default)]
    methods: Vec<Verb>,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    shapes: Vec<Shape>,
    #[serde(default)]
    body_bytes_min: usize,
}

impl TryFrom<Written> for Window {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { limit, per, burst, cost, cost_bytes, methods, resources, shapes, body_bytes_min } =
            written;
        let cost = Cost::read(cost, cost_bytes).ok_or("write either `cost` or `cost_bytes`")?;
        let scope = Scope { class: None, methods, resources, shapes, body_bytes_min };
        Ok(Self { limit, per, burst, cost, scope })
    }
}

/// What a window counts one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests, whatever is in them.
    #[default]
    Request,
    /// The operations of bulk requests; any other request is one.
    BulkOperation,
}

/// What a call takes from a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cost {
    /// 1.
    #[default]
    Request,
    /// 1 for each operation that it carries, so 1 unless it is a bulk request.
    BulkOperation,
    /// 1 for each started stretch of so many bytes of its body, at least 1.
    Bytes(NonZeroU32),
}

/// The calls that a window counts: those that all of these hold for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of this class only; absent: of any.
    pub class: Option<CallClass>,
    /// With one of these methods; empty: any.
    pub methods: Vec<Verb>,
    /// At one of these resources; empty: any.
    pub resources: Vec<Resource>,
    /// Of one of these shapes; empty: any.
    pub shapes: Vec<Shape>,
    /// With a body of at least so many bytes.
    pub body_bytes_min: usize,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

/// What a call is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Users, one or all.
    Users,
    /// Groups, one or all.
    Groups,
    /// The bulk endpoint.
    Bulk,
    /// The vendor's description of itself.
    Other,
}

/// How much of a resource a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One resource, or one request of whatever kind.
    Single,
    /// All resources of a kind, page by page.
    List,
    /// Those that a filter finds.
    Search,
}

impl Window {
    /// Every call counts 1.
    pub fn of_all(limit: NonZeroU32, per: Duration) -> Self {
        Self { limit, per, burst: None, cost: Cost::Request, scope: Scope::default() }
    }

    /// Whether each and every call counts 1.
    pub fn counts_all(&self) -> bool {
        self.cost == Cost::Request && self.scope.counts_every(None)
    }

    /// Which rule the window breaks; `Ok` when none.
    pub fn check(&self) -> Result<(), &'static str> {
        let lasts = !self.per.is_zero() && self.per <= PER_MAX;
        let fits = self.burst.is_none_or(|burst| burst <= self.limit);
        match (lasts, fits) {
            (false, _) => Err("a window lasts over 0s and at most 24h"),
            (_, false) => Err("`burst` is at most `limit`"),
            (true, true) => Ok(()),
        }
    }

    /// What may go at once after a quiet time.
    pub fn burst(&self) -> NonZeroU32 {
        let share = match self.cost {
            Cost::Request => self.limit.get() / 64,
            Cost::BulkOperation | Cost::Bytes(_) => self.limit.get() / 10,
        };
        self.burst.or(NonZeroU32::new(share)).unwrap_or(NonZeroU32::MIN).min(self.limit)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}", self.limit, humantime::format_duration(self.per))
    }
}

impl Cost {
    /// As `cost` and `cost_bytes` say; `None` when they contradict each other.
    pub fn read(unit: Option<Unit>, bytes: Option<NonZeroU32>) -> Option<Self> {
        match (unit, bytes) {
            (None | Some(Unit::Request), None) => Some(Self::Request),
            (Some(Unit::BulkOperation), None) => Some(Self::BulkOperation),
            (None, Some(bytes)) => Some(Self::Bytes(bytes)),
            (Some(_), Some(_)) => None,
        }
    }

    /// What `call` costs.
    pub fn of(self, call: &Call) -> u32 {
        match self {
            Self::Request => 1,
            Self::BulkOperation => call.operations.max(1),
            Self::Bytes(each) => {
                let bytes = u32::try_from(call.body_bytes()).unwrap_or(u32::MAX);
                bytes.div_ceil(each.get()).max(1)
            }
        }
    }
}

impl Scope {
    /// All calls of a class.
    pub fn of_class(class: CallClass) -> Self {
        Self { class: Some(class), ..Self::default() }
    }

    /// Whether `call` counts.
    pub fn counts(&self, call: &Call) -> bool {
        self.class.is_none_or(|class| class == call.class)
            && among(&self.methods, |verb| verb.is(&call.method))
            && among(&self.resources, |resource| resource == Resource::of(call))
            && among(&self.shapes, |shape| shape == Shape::of(call))
            && call.body_bytes() >= self.body_bytes_min
    }

    /// Whether each and every call of `class`, or of any class when it is not known yet, counts.
    pub fn counts_every(&self, class: Option<CallClass>) -> bool {
        (self.class.is_none() || self.class == class)
            && self.methods.is_empty()
            && self.resources.is_empty()
            && self.shapes.is_empty()
            && self.body_bytes_min == 0
    }
}

fn among<T: Copy>(wanted: &[T], holds: impl Fn(T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| holds(*one))
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET,
            Self::Post => method == Method::POST,
            Self::Put => method == Method::PUT,
            Self::Patch => method == Method::PATCH,
            Self::Delete => method == Method::DELETE,
        }
    }
}

impl Resource {
    fn of(call: &Call) -> Self {
        match (call.class, call.endpoint.split('/').next()) {
            (CallClass::Bulk, _) => Self::Bulk,
            (_, Some("Users")) => Self::Users,
            (_, Some("Groups")) => Self::Groups,
            _ => Self::Other,
        }
    }
}

impl Shape {
    fn of(call: &Call) -> Self {
        // A read of a collection that is not a list asks for what a filter finds.
        let collection = matches!(call.endpoint, "Users" | "Groups");
        match call.class {
            CallClass::List => Self::List,
            CallClass::Single if collection && call.method == Method::GET => Self::Search,
            CallClass::Single | CallClass::Bulk | CallClass::Probe => Self::Single,
        }
    }
}

#[cfg(test)]
mod tests;
