//! The secret itself, sent along: in a header, in the address, or in the body.
//!
//! Nothing is signed, so whoever reads one webhook can make others. It is what many senders offer;
//! TLS is what protects it.

use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{SecretError, header};
use crate::source::json;
use crate::source::{Delivery, Proof, Refusal};

/// Longest secret that is compared.
const SECRET_BYTES_MAX: usize = 4096;

/// Where a sender puts its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of a header, after a fixed text such as `Bearer `.
    Header {
        /// The header.
        name: HeaderName,
        /// What stands in front of the secret; compared without case, and may be empty.
        prefix: String,
    },
    /// A parameter of the address. The sender is told an address that bears it.
    Query(String),
    /// A member of each object in a list of the body.
    EachItem {
        /// The member with the list.
        list: String,
        /// The member with the secret.
        member: String,
    },
}

/// Verifies secrets that are sent along.
pub struct Shared {
    place: Place,
    digests: Vec<[u8; 32]>,
}

impl Shared {
    /// With these secrets.
    pub fn new(place: Place, secrets: &[SecretString]) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        if secrets.iter().any(|secret| secret.expose_secret().is_empty()) {
            return Err(SecretError::Empty);
        }
        let digests = secrets.iter().map(|secret| digest(secret.expose_secret())).collect();
        Ok(Self { place, digests })
    }

    /// Whether the webhook bears one of the secrets.
    pub fn verify(&self, delivery: &Delivery<'_>) -> Result<Proof, Refusal> {
        let matches = match &self.place {
            Place::Header { name, prefix } => {
                let value = header::only(delivery.headers, name.as_str(), SECRET_BYTES_MAX)?;
                let given =
                    after_prefix(value, prefix).ok_or_else(|| Refusal::unreadable(name.to_string()))?;
                self.is_known(given)
            }
            Place::Query(parameter) => {
                let mut values = url::form_urlencoded::parse(delivery.query.as_bytes())
                    .filter_map(|(name, value)| (name == parameter.as_str()).then_some(value));
                let only = values.next().filter(|_| values.next().is_none());
                self.is_known(&only.ok_or_else(|| Refusal::unreadable(format!("?{parameter}=")))?)
            }
            Place::EachItem { list, member } => self.each_item_is_known(delivery.body, list, member)?,
        };
        if matches { Ok(Proof::default()) } else { Err(Refusal::Mismatch) }
    }

    fn each_item_is_known(&self, body: &[u8], list: &str, member: &str) -> Result<bool, Refusal> {
        let unreadable = || Refusal::unreadable(format!("/{list}/*/{member}"));
        let body = json::parse(body).map_err(|_| unreadable())?;
        let items = body.get(list).and_then(Value::as_array).filter(|items| !items.is_empty());
        let mut all = true;
        for item in items.ok_or_else(unreadable)? {
            all &= self.is_known(item.get(member).and_then(Value::as_str).ok_or_else(unreadable)?);
        }
        Ok(all)
    }

    /// Compares digests, so that the time taken tells neither a secret's length nor which matched.
    fn is_known(&self, given: &str) -> bool {
        let given = digest(given);
        let mut found = Choice::from(0);
        for known in &self.digests {
            found |= known.ct_eq(&given);
        }
        found.into()
    }
}

fn after_prefix<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest).filter(|rest| !rest.is_empty())
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn verify(place: &Place, headers: &[(&'static str, &str)], query: &str, body: &str) -> bool {
        let shared = Shared::new(place.clone(), &["old".into(), "new secret".into()]).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        shared.verify(&Delivery { headers: &map, query, body: body.as_bytes() }).is_ok()
    }

    #[test]
    fn a_secret_in_a_header_is_compared_whole() {
        let name = HeaderName::from_static("authorization");
        let bare = Place::Header { name: name.clone(), prefix: String::new() };
        let bearer = Place::Header { name, prefix: "Bearer ".to_owned() };
        for (place, value, expected) in [
            (&bare, "new secret", true),
            (&bare, "old", true),
            (&bare, "new secre", false),
            (&bare, "new secrett", false),
            (&bare, "Old", false),
            (&bearer, "Bearer old", true),
            (&bearer, "bearer new secret", true),
            (&bearer, "old", false),
            (&bearer, "Bearer ", false),
            (&bearer, "Bearer  old", false),
            (&bearer, "Bearer-old", false),
        ] {
            assert_eq!(verify(place, &[("authorization", value)], "", ""), expected, "{value}");
        }
        assert!(!verify(&bare, &[], "", ""));
        assert!(!verify(&bare, &[("authorization", "")], "", ""));
        assert!(!verify(&bare, &[("authorization", "old"), ("authorization", "old")], "", ""));
    }

    #[test]
    fn a_secret_in_the_address_is_decoded_and_there_once() {
        let place = Place::Query("key".to_owned());
        for (query, expected) in [
            ("key=old", true),
            ("a=b&key=new%20secret", true),
            ("key=new+secret", true),
            ("key=other", false),
            ("key=old&key=old", false),
            ("KEY=old", false),
            ("", false),
            ("key", false),
        ] {
            assert_eq!(verify(&place, &[], query, ""), expected, "{query}");
        }
    }

    #[test]
    fn a_secret_in_the_body_is_in_every_item() {
        let place = Place::EachItem { list: "value".to_owned(), member: "clientState".to_owned() };
        for (body, expected) in [
            (r#"{"value":[{"clientState":"old"}]}"#, true),
            (r#"{"value":[{"clientState":"old"},{"clientState":"new secret"}]}"#, true),
            (r#"{"value":[{"clientState":"old"},{"clientState":"x"}]}"#, false),
            (r#"{"value":[{"clientState":"x"},{"clientState":"old"}]}"#, false),
            (r#"{"value":[{"clientState":"old"},{}]}"#, false),
            (r#"{"value":[{"clientState":null}]}"#, false),
            (r#"{"value":[]}"#, false),
            (r#"{"value":{}}"#, false),
            (r#"{"value":[{"clientState":"x","clientState":"old"}]}"#, false),
            ("", false),
        ] {
            assert_eq!(verify(&place, &[], "", body), expected, "{body}");
        }
    }

    #[test]
    fn no_secret_and_an_empty_secret_are_refused() {
        let place = Place::Query("key".to_owned());
        assert_eq!(Shared::new(place.clone(), &[]).err(), Some(SecretError::None));
        assert_eq!(Shared::new(place, &["a".into(), "".into()]).err(), Some(SecretError::Empty));
    }
}
