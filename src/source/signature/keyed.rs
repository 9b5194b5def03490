//! Keyed hashes (HMAC, RFC 2104) in the many shapes that senders give them: which header, how it is
//! written, which bytes are signed, and where the time of signing stands.

mod template;
#[cfg(test)]
mod tests;
mod value;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::time::{Format, Tolerance};
use super::{SecretError, header};
use crate::clock::Timestamp;
use crate::source::{Delivery, Proof, Refusal};

pub use template::{Template, TemplateError};
pub use value::ValueForm;

/// Longest header that is read.
const HEADER_BYTES_MAX: usize = 4096;
/// Longest time of signing.
const TIME_BYTES_MAX: usize = 40;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a sender signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Headers that may hold the signature; the first that is there counts.
    pub headers: Vec<HeaderName>,
    /// How the header is written.
    pub form: ValueForm,
    /// The hash.
    pub algorithm: Algorithm,
    /// How the hash is written.
    pub encoding: Encoding,
    /// How a secret becomes a key.
    pub key: KeyForm,
    /// Which bytes are signed.
    pub signed: Template,
    /// When it was signed, for senders that say so.
    pub time: Option<Time>,
    /// Header with the sender's id of the event.
    pub id_header: Option<HeaderName>,
}

impl Settings {
    /// A bare SHA-256 of the body in hexadecimal, in the header of that name.
    pub fn of_body(header: &'static str) -> Self {
        Self {
            headers: vec![HeaderName::from_static(header)],
            form: ValueForm::Bare,
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            key: KeyForm::Text,
            signed: Template::body(),
            time: None,
            id_header: None,
        }
    }

    /// A SHA-256 of time, dot and body, in hexadecimal, in pairs such as `t=…,v1=…`.
    pub fn of_time_and_body(header: &'static str, pair: &str, format: Format, tolerance: Tolerance) -> Self {
        Self {
            form: ValueForm::Pairs { time: "t".to_owned(), signature: pair.to_owned() },
            signed: Template::timestamp_dot_body(),
            time: Some(Time { header: None, format, tolerance }),
            ..Self::of_body(header)
        }
    }

    /// This, under another header besides, which counts first.
    #[must_use]
    pub fn or_header(mut self, header: &'static str) -> Self {
        self.headers.insert(0, HeaderName::from_static(header));
        self
    }
}

/// The time of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// The header that holds it; `None`: it is one of the signature header's pairs.
    pub header: Option<HeaderName>,
    /// How it is written.
    pub format: Format,
    /// How far it may lie from now.
    pub tolerance: Tolerance,
}

/// The hash under the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1: HMAC still holds with it, yet nobody should start with it today.
    Sha1,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Two hexadecimal digits a byte, of either case.
    Hex,
    /// Base64 of the standard alphabet, padded or not.
    Base64,
}

/// How a secret becomes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Its bytes, as they are.
    Text,
    /// What it encodes, once this prefix is off.
    Encoded {
        /// What the sender puts in front of its secrets; may be empty.
        prefix: String,
        /// How the rest is written.
        encoding: Encoding,
    },
}

/// Verifies keyed hashes.
pub struct Keyed {
    settings: Settings,
    keys: Vec<SecretSlice<u8>>,
}

impl Keyed {
    /// With the keys of these secrets.
    pub fn new(settings: Settings, secrets: &[SecretString]) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        let keys = secrets.iter().map(|secret| settings.key.key_of(secret)).collect::<Result<_, _>>()?;
        Ok(Self { settings, keys })
    }

    /// Whether one of the keys signed the webhook, not long before or after `now`.
    pub fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        let settings = &self.settings;
        let name = settings.headers.iter().find(|name| delivery.headers.contains_key(*name));
        let name = name.or(settings.headers.first()).ok_or(Refusal::Mismatch)?;
        let value = header::only(delivery.headers, name.as_str(), HEADER_BYTES_MAX)?;
        let parts = settings.form.read(value).ok_or_else(|| Refusal::unreadable(name.to_string()))?;
        let time = self.time(delivery, parts.time, name, now)?;
        let id = match &settings.id_header {
            Some(name) => Some(header::only(delivery.headers, name.as_str(), Proof::EVENT_ID_BYTES_MAX)?),
            None => None,
        };
        let signed = settings.signed.fill(delivery, time, id).ok_or(Refusal::Mismatch)?;
        let signatures: Vec<_> =
            parts.signatures.iter().filter_map(|text| settings.encoding.decode(text)).collect();
        if self.any_matches(&signed, &signatures) {
            Ok(Proof::signed_at(time).with_id(id))
        } else {
            Err(Refusal::Mismatch)
        }
    }

    /// The time of signing as it was written, once it was found to be recent.
    fn time<'a>(
        &self,
        delivery: &Delivery<'a>,
        paired: Option<&'a str>,
        signature_header: &HeaderName,
        now: Timestamp,
    ) -> Result<Option<&'a str>, Refusal> {
        let Some(time) = &self.settings.time else { return Ok(None) };
        let (text, name) = match &time.header {
            Some(name) => (Some(header::only(delivery.headers, name.as_str(), TIME_BYTES_MAX)?), name),
            None => (paired, signature_header),
        };
        let unreadable = || Refusal::unreadable(name.to_string());
        let text = text.ok_or_else(unreadable)?;
        time.tolerance.check(time.format.read(text).ok_or_else(unreadable)?, now)?;
        Ok(Some(text))
    }

    /// Compares every key with every signature, so that the time taken tells neither which key nor
    /// which signature matched.
    fn any_matches(&self, signed: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        let mut found = Choice::from(0);
        for key in &self.keys {
            let expected = self.settings.algorithm.mac(key, signed);
            for signature in signatures {
                found |= expected.ct_eq(signature);
            }
        }
        found.into()
    }
}

/// What the header holds for a webhook that is signed with this secret, without the header's form.
#[cfg(test)]
pub fn sign(
    settings: &Settings,
    secret: &SecretString,
    delivery: &Delivery<'_>,
    time: Option<&str>,
    id: Option<&str>,
) -> String {
    let key = secret.expose_secret().as_bytes().to_vec().into();
    let signed = settings.signed.fill(delivery, time, id).expect("every part is given");
    let mac = settings.algorithm.mac(&key, &signed);
    match settings.encoding {
        Encoding::Base64 => BASE64.encode(mac),
        Encoding::Hex => {
            let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte is a digit");
            mac.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
        }
    }
}

impl Algorithm {
    fn mac(self, key: &SecretSlice<u8>, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, parts),
            Self::Sha1 => mac::<Hmac<Sha1>>(key, parts),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &SecretSlice<u8>, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac =
        <M as KeyInit>::new_from_slice(key.expose_secret()).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

impl Encoding {
    /// The bytes; `None` for another encoding's text.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Hex => {
                let digits: Option<Vec<u8>> = text
                    .chars()
                    .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
                    .collect();
                let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
                Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
            }
        }
    }
}

impl KeyForm {
    fn key_of(&self, secret: &SecretString) -> Result<SecretSlice<u8>, SecretError> {
        let text = secret.expose_secret();
        let key = match self {
            Self::Text => text.as_bytes().to_vec(),
            Self::Encoded { prefix, encoding } => {
                let encoded = text.strip_prefix(prefix.as_str()).unwrap_or(text);
                encoding.decode(encoded).ok_or(SecretError::Encoding)?
            }
        };
        if key.is_empty() { Err(SecretError::Empty) } else { Ok(key.into()) }
    }
}
