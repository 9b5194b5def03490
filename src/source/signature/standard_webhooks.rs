//! Standard Webhooks: HMAC-SHA256 (`v1`) or Ed25519 (`v1a`) over `id.timestamp.body`, in Base64.
//!
//! Headers `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, which holds one
//! or more entries `version,signature`, separated by spaces; the sender adds entries while it
//! rotates its key. Entries of other versions are skipped. Svix names the headers `svix-…`.
//! Specification: <https://github.com/standard-webhooks/standard-webhooks>.
//!
//! The dots do not make the signed text unambiguous: an id that ends in a number could be read as id
//! and timestamp. The body that such a reading leaves starts with digits and a dot, and so is
//! neither a JSON object nor an array.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use ring::signature::{ED25519, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::{SecretError, header};
use crate::clock::Timestamp;
use crate::source::event::is_event_id;
use crate::source::{Proof, Refusal};

/// Header with the sender's id of the event.
pub const ID_HEADER: &str = "webhook-id";
/// Header with the time of signing, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The names that a sender gives to the three headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

impl HeaderNames {
    /// As the specification has them.
    pub const STANDARD: Self =
        Self { id: ID_HEADER, timestamp: TIMESTAMP_HEADER, signature: SIGNATURE_HEADER };
    /// As Svix and those who send through it have them.
    pub const SVIX: Self = Self { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

    /// Those of the event's id, the time and the signatures.
    pub const fn all(self) -> [&'static str; 3] {
        [self.id, self.timestamp, self.signature]
    }
}

/// How far the time of signing may lie from now, either way, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

const SIGNATURE_HEADER_BYTES_MAX: usize = 4096;
const SIGNATURES_MAX: usize = 32;
const SECRET_PREFIX: &str = "whsec_";
const PUBLIC_KEY_PREFIX: &str = "whpk_";

/// Some senders hand out secrets without padding.
const SECRET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Verifies with any of several keys.
pub struct StandardWebhooks {
    names: HeaderNames,
    keys: Vec<Key>,
}

enum Key {
    Shared(SecretSlice<u8>),
    Public([u8; 32]),
}

impl StandardWebhooks {
    /// With the keys of these secrets, see [`sign`] for their forms; or `whpk_` and Base64 for the
    /// public key of a sender that signs with Ed25519.
    pub fn new(names: HeaderNames, secrets: &[SecretString]) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        let keys = secrets.iter().map(Key::of).collect::<Result<_, _>>()?;
        Ok(Self { names, keys })
    }

    /// The same for bodies that come in parts, which a public key cannot verify.
    pub fn for_parts(names: HeaderNames, secrets: &[SecretString]) -> Result<Self, SecretError> {
        let verifier = Self::new(names, secrets)?;
        if verifier.keys.iter().any(|key| matches!(key, Key::Public(_))) {
            return Err(SecretError::Whole);
        }
        Ok(verifier)
    }

    /// Whether one of the keys signed this body, not long before or after `now`.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Proof, Refusal> {
        let (id, timestamp, signatures) = self.read_headers(headers, now)?;
        if self.any_matches(id, timestamp, body, signatures) {
            Ok(Proof::of_event(id))
        } else {
            Err(Refusal::Mismatch)
        }
    }

    /// The id, the time and the signatures, once the time was found to be recent.
    fn read_headers<'a>(
        &self,
        headers: &'a HeaderMap,
        now: Timestamp,
    ) -> Result<(&'a str, &'a str, &'a str), Refusal> {
        let [id, timestamp, signature] = self.names.all();
        let id_text = header::only(headers, id, Proof::EVENT_ID_BYTES_MAX)?;
        let timestamp_text = header::only(headers, timestamp, 12)?;
        let signatures = header::only(headers, signature, SIGNATURE_HEADER_BYTES_MAX)?;
        if !is_event_id(id_text) {
            return Err(Refusal::unreadable(id));
        }
        let signed_at = unix_seconds(timestamp_text).ok_or_else(|| Refusal::unreadable(timestamp))?;
        let seconds = now.as_seconds().saturating_sub(signed_at);
        if seconds.saturating_abs() > TOLERANCE_SECONDS {
            return Err(Refusal::Untimely { seconds });
        }
        Ok((id_text, timestamp_text, signatures))
    }

    /// Begins to verify a body that comes in parts, with the shared keys: a public key wants the whole
    /// at once.
    pub fn begin(&self, headers: &HeaderMap, now: Timestamp) -> Result<Parts, Refusal> {
        let (id, timestamp, signatures) = self.read_headers(headers, now)?;
        let shared = self.keys.iter().filter_map(|key| match key {
            Key::Shared(key) => Some(begun(key, id, timestamp)),
            Key::Public(_) => None,
        });
        Ok(Parts { macs: shared.collect(), signatures: entries(signatures, "v1,"), id: id.to_owned() })
    }

    /// Compares every shared key with every signature, so that the time taken tells neither which key
    /// nor which signature matched. A public key has nothing to hide.
    fn any_matches(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let symmetric: Vec<[u8; 32]> = entries(signatures, "v1,");
        let asymmetric: Vec<[u8; 64]> = entries(signatures, "v1a,");
        let mut found = Choice::from(0);
        for key in &self.keys {
            match key {
                Key::Shared(key) => {
                    let expected = mac(key, id, timestamp, body);
                    for signature in &symmetric {
                        found |= expected.ct_eq(signature);
                    }
                }
                Key::Public(key) => {
                    let signed = signed_text(id, timestamp, body).concat();
                    let key = UnparsedPublicKey::new(&ED25519, key);
                    let verified = asymmetric.iter().any(|signature| key.verify(&signed, signature).is_ok());
                    found |= Choice::from(u8::from(verified));
                }
            }
        }
        found.into()
    }
}

/// A body that is verified part by part.
pub struct Parts {
    macs: Vec<Hmac<Sha256>>,
    signatures: Vec<[u8; 32]>,
    id: String,
}

impl Parts {
    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        for mac in &mut self.macs {
            mac.update(part);
        }
    }

    /// Whether one of the keys signed all the parts.
    pub fn finish(self) -> Result<Proof, Refusal> {
        let mut found = Choice::from(0);
        for mac in self.macs {
            let expected: [u8; 32] = mac.finalize().into_bytes().into();
            for signature in &self.signatures {
                found |= expected.ct_eq(signature);
            }
        }
        if found.into() { Ok(Proof::of_event(self.id)) } else { Err(Refusal::Mismatch) }
    }
}

fn begun(key: &SecretSlice<u8>, id: &str, timestamp: &str) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose_secret()).expect("HMAC takes keys of every length");
    for part in signed_text(id, timestamp, b"") {
        mac.update(part);
    }
    mac
}

impl Key {
    fn of(secret: &SecretString) -> Result<Self, SecretError> {
        if let Some(encoded) = secret.expose_secret().strip_prefix(PUBLIC_KEY_PREFIX) {
            let key = SECRET_BASE64.decode(encoded).ok().and_then(|key| key.try_into().ok());
            return key.map(Self::Public).ok_or(SecretError::Encoding);
        }
        let key = key_of(secret);
        if key.expose_secret().is_empty() { Err(SecretError::Empty) } else { Ok(Self::Shared(key)) }
    }
}

/// The value of `webhook-signature` for an event that is signed at `at`, for those who send.
///
/// The secret is `whsec_` and Base64, or any other text, which is taken as its bytes.
pub fn sign(secret: &SecretString, id: &str, at: Timestamp, body: &[u8]) -> String {
    let mac = mac(&key_of(secret), id, &at.as_seconds().to_string(), body);
    format!("v1,{}", STANDARD.encode(mac))
}

/// Whether a secret looks like Base64 after `whsec_` and is not: it is taken as text then, and who copied a
/// part of it would look for the fault elsewhere.
pub fn is_mangled(secret: &SecretString) -> bool {
    let encoded = secret.expose_secret().strip_prefix(SECRET_PREFIX);
    encoded.is_some_and(|encoded| SECRET_BASE64.decode(encoded).is_err())
}

fn key_of(secret: &SecretString) -> SecretSlice<u8> {
    let text = secret.expose_secret();
    let decoded = text.strip_prefix(SECRET_PREFIX).and_then(|encoded| SECRET_BASE64.decode(encoded).ok());
    decoded.unwrap_or_else(|| text.as_bytes().to_vec()).into()
}

fn mac(key: &SecretSlice<u8>, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = begun(key, id, timestamp);
    mac.update(body);
    mac.finalize().into_bytes().into()
}

fn signed_text<'a>(id: &'a str, timestamp: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
}

fn unix_seconds(text: &str) -> Option<i64> {
    // `parse` would take a sign, too.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The signatures of one version that have the right length.
fn entries<const LENGTH: usize>(header: &str, version: &str) -> Vec<[u8; LENGTH]> {
    header
        .split(' ')
        .filter_map(|entry| entry.strip_prefix(version))
        .take(SIGNATURES_MAX)
        .filter_map(|encoded| STANDARD.decode(encoded).ok()?.try_into().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn signed(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        headers(&[(ID_HEADER, id), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signature)])
    }

    fn verifier(secrets: &[&str]) -> StandardWebhooks {
        let secrets: Vec<_> = secrets.iter().copied().map(SecretString::from).collect();
        StandardWebhooks::new(HeaderNames::STANDARD, &secrets).unwrap()
    }

    fn verify(headers: &HeaderMap, body: &[u8], now: i64) -> Result<String, Refusal> {
        let verified = verifier(&[SECRET]).verify(headers, body, Timestamp::from_seconds(now));
        verified.map(|proof| proof.id().unwrap_or_default().to_owned())
    }

    #[test]
    fn published_vectors_are_signed_as_published() {
        for (secret, id, at, body, expected) in [
            (SECRET, ID, AT, BODY, SIGNATURE),
            (
                "whsec_plJ3nmyCDGBKInavdOK15jsl",
                "msg_loFOjxBNrRLzqYUf",
                1_731_705_121,
                br#"{"event_type":"ping","data":{"success":true}}"#.as_slice(),
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
        ] {
            assert_eq!(sign(&secret.into(), id, Timestamp::from_seconds(at), body), expected);
        }
        assert_eq!(verify(&signed(ID, &AT.to_string(), SIGNATURE), BODY, AT), Ok(ID.to_owned()));
    }

    #[test]
    fn a_public_key_verifies_the_asymmetric_signature_of_its_sender_alone() {
        let key = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature =
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        let headers = signed(id, "1614265330", signature);
        let now = Timestamp::from_seconds(1_614_265_330);
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(verifier(&[key]).verify(&headers, body, now), Ok(Proof::of_event(id)));
        assert!(verifier(&[SECRET, key]).verify(&headers, body, now).is_ok());
        assert_eq!(verifier(&[key]).verify(&headers, br#"{"test": 1}"#, now), Err(Refusal::Mismatch));
        assert_eq!(verifier(&[SECRET]).verify(&headers, body, now), Err(Refusal::Mismatch));
        // The key is known to everybody, so it is no secret of an HMAC.
        let forged = signed(id, "1614265330", &sign(&key.into(), id, now, body));
        assert_eq!(verifier(&[key]).verify(&forged, body, now), Err(Refusal::Mismatch));
        let parts = StandardWebhooks::for_parts(HeaderNames::STANDARD, &[key.into(), "secret".into()]).err();
        assert_eq!(parts, Some(SecretError::Whole), "what no file could be verified with");
        let cut = StandardWebhooks::new(HeaderNames::STANDARD, &["whpk_AAAA".into()]).err();
        assert_eq!(cut, Some(SecretError::Encoding));
    }

    #[test]
    fn a_secret_without_the_prefix_or_without_base64_is_its_own_bytes() {
        let keys = |text: &str| key_of(&text.into()).expose_secret().to_vec();
        assert_eq!(keys("whsec_c2VjcmV0"), b"secret");
        assert_eq!(keys("whsec_c2VjcmV0cw"), b"secrets");
        assert_eq!(keys("c2VjcmV0"), b"c2VjcmV0");
        assert_eq!(keys("whsec_not base64"), b"whsec_not base64");
        assert_eq!(keys("pässword"), "pässword".as_bytes());
    }

    #[test]
    fn a_signature_holds_for_five_minutes_either_way() {
        let headers = signed(ID, &AT.to_string(), SIGNATURE);
        for (offset, expected) in [
            (-301, Err(Refusal::Untimely { seconds: -301 })),
            (-300, Ok(ID.to_owned())),
            (300, Ok(ID.to_owned())),
            (301, Err(Refusal::Untimely { seconds: 301 })),
        ] {
            assert_eq!(verify(&headers, BODY, AT + offset), expected, "{offset} s");
        }
    }

    #[test]
    fn each_of_several_secrets_and_signatures_may_match() {
        let other = sign(&"other".into(), ID, Timestamp::from_seconds(AT), BODY);
        let now = Timestamp::from_seconds(AT);
        for (secrets, signatures, expected) in [
            (vec!["old", SECRET], SIGNATURE.to_owned(), true),
            (vec![SECRET, "old"], SIGNATURE.to_owned(), true),
            (vec![SECRET], format!("v1a,bm8= {other} v2,x {SIGNATURE}"), true),
            (vec!["other", SECRET], other.clone(), true),
            (vec![SECRET], other.clone(), false),
            (vec!["old", "older"], format!("{SIGNATURE} {other}"), false),
        ] {
            let headers = signed(ID, &AT.to_string(), &signatures);
            let verified = verifier(&secrets).verify(&headers, BODY, now).is_ok();
            assert_eq!(verified, expected, "{secrets:?} {signatures}");
        }
    }

    #[test]
    fn every_part_of_what_is_signed_matters() {
        let timestamp = AT.to_string();
        for (headers, body) in [
            (signed(ID, &timestamp, SIGNATURE), &BODY[1..]),
            (signed(&ID[1..], &timestamp, SIGNATURE), BODY),
            (signed(ID, &(AT + 1).to_string(), SIGNATURE), BODY),
            (signed(ID, &format!("0{timestamp}"), SIGNATURE), BODY),
        ] {
            assert_eq!(verify(&headers, body, AT), Err(Refusal::Mismatch), "{headers:?}");
        }
    }

    #[test]
    fn other_versions_and_other_lengths_match_nothing() {
        let bare = SIGNATURE.strip_prefix("v1,").unwrap();
        let unpadded = SIGNATURE.trim_end_matches('=');
        let cut = format!("v1,{}", STANDARD.encode(&STANDARD.decode(bare).unwrap()[..31]));
        for signature in [
            bare,
            unpadded,
            &cut,
            &format!("v1a,{bare}"),
            &format!("v2,{bare}"),
            "v1,",
            "v1",
            ",",
            "v1,====",
            &format!("V1,{bare}"),
            &SIGNATURE.replace(',', ""),
        ] {
            let headers = signed(ID, &AT.to_string(), signature);
            assert_eq!(verify(&headers, BODY, AT), Err(Refusal::Mismatch), "{signature}");
        }
    }

    #[test]
    fn a_header_that_is_missing_repeated_empty_or_huge_is_refused() {
        let timestamp = AT.to_string();
        let parts = [(ID_HEADER, ID), (TIMESTAMP_HEADER, &timestamp), (SIGNATURE_HEADER, SIGNATURE)];
        for (index, (header, value)) in parts.into_iter().enumerate() {
            let unreadable = Err(Refusal::unreadable(header));
            let mut rows = parts.to_vec();
            rows.remove(index);
            assert_eq!(verify(&headers(&rows), BODY, AT), unreadable, "no {header}");
            for odd in ["", &"1".repeat(5000), &format!("{value}\t")] {
                let mut rows = parts.to_vec();
                rows[index].1 = odd;
                assert!(verify(&headers(&rows), BODY, AT).is_err(), "{header}: {odd:.20}");
            }
            let mut rows = parts.to_vec();
            rows.push((header, value));
            assert_eq!(verify(&headers(&rows), BODY, AT), unreadable, "{header} twice");
        }
    }

    #[test]
    fn an_id_is_visible_ascii_of_at_most_256_bytes() {
        let at = Timestamp::from_seconds(AT);
        for (id, expected) in [
            ("e".repeat(256), true),
            ("a.b:c/d~!".to_owned(), true),
            ("e".repeat(257), false),
            ("e 1".to_owned(), false),
            ("e\u{e9}".to_owned(), false),
        ] {
            let mut headers = signed("x", &AT.to_string(), &sign(&SECRET.into(), &id, at, BODY));
            headers.insert(ID_HEADER, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            assert_eq!(verify(&headers, BODY, AT).is_ok(), expected, "{id:.20}");
        }
    }

    #[test]
    fn a_timestamp_is_plain_digits() {
        for odd in ["+1649367553", "-1", " 1649367553", "1649367553.0", "1e9", "0x1", "9999999999999"] {
            let mut headers = signed(ID, "1", SIGNATURE);
            headers.insert(TIMESTAMP_HEADER, HeaderValue::from_str(odd).unwrap());
            assert_eq!(verify(&headers, BODY, AT), Err(Refusal::unreadable(TIMESTAMP_HEADER)), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_body_in_parts_is_verified_like_the_whole(
            body in proptest::collection::vec(any::<u8>(), 0..60),
            cut in 0_usize..60,
            tampered: bool,
        ) {
            let now = Timestamp::from_seconds(1_000);
            let secrets = [SecretString::from("another"), SecretString::from(SECRET)];
            let verifier = StandardWebhooks::new(HeaderNames::STANDARD, &secrets).unwrap();
            let signature = sign(&secrets[1], ID, now, &body);
            let headers: HeaderMap = [(ID_HEADER, ID), (TIMESTAMP_HEADER, "1000"), (SIGNATURE_HEADER, &signature)]
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
                .collect();
            let mut sent = body.clone();
            if tampered {
                sent.push(0);
            }
            let (first, second) = sent.split_at(cut.min(sent.len()));
            let mut parts = verifier.begin(&headers, now).unwrap();
            parts.update(first);
            parts.update(second);
            let proof = parts.finish();
            prop_assert_eq!(&proof, &verifier.verify(&headers, &sent, now));
            prop_assert_eq!(proof.is_ok(), !tampered);
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies(secret in "[ -~]{1,40}", id in "[!-~]{1,256}", body: Vec<u8>) {
            prop_assume!(secret != SECRET_PREFIX);
            let at = Timestamp::from_seconds(AT);
            let headers = signed(&id, &AT.to_string(), &sign(&secret.as_str().into(), &id, at, &body));
            let verified = verifier(&[&secret]).verify(&headers, &body, at);
            prop_assert_eq!(verified.map(|proof| proof.id().unwrap_or_default().to_owned()), Ok(id));
        }

        #[test]
        fn no_header_and_no_body_panics(
            id in "[ -~]{0,300}",
            timestamp in "[ -~]{0,20}",
            signature in "(v1,)?[ -~]{0,80}",
            body: Vec<u8>,
            now: i64,
        ) {
            let headers = signed(&id, &timestamp, &signature);
            prop_assert!(verifier(&["s"]).verify(&headers, &body, Timestamp::from_micros(now)).is_err());
        }
    }
}
