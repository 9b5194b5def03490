use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "whk_secret";
const BODY: &[u8] = br#"{"id":"event_01","event":"dsync.user.created","data":{"id":"directory_user_01"}}"#;
const NOW: Timestamp = Timestamp::from_seconds(1_786_000_000);

fn settings(form: ValueForm, algorithm: Algorithm, encoding: Encoding, signed: &str) -> Settings {
    Settings {
        headers: vec![HeaderName::from_static("x-signature")],
        form,
        algorithm,
        encoding,
        key: KeyForm::Text,
        signed: Template::parse(signed).unwrap(),
        time: None,
        id_header: None,
    }
}

fn bare(algorithm: Algorithm, encoding: Encoding) -> Settings {
    settings(ValueForm::Bare, algorithm, encoding, "{body}")
}

fn paired(format: Format) -> Settings {
    let form = ValueForm::Pairs { time: "t".to_owned(), signature: "v1".to_owned() };
    let time = Time { header: None, format, tolerance: Tolerance::USUAL };
    Settings { time: Some(time), ..settings(form, Algorithm::Sha256, Encoding::Hex, "{timestamp}.{body}") }
}

fn verify_with(
    settings: &Settings,
    secrets: &[&str],
    headers: &[(&'static str, &str)],
    body: &[u8],
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let secrets: Vec<SecretString> = secrets.iter().copied().map(SecretString::from).collect();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let keyed = Keyed::new(settings.clone(), &secrets).unwrap();
    keyed.verify(&Delivery { headers: &map, query: "", body }, now)
}

fn verify(settings: &Settings, value: &str) -> Result<Proof, Refusal> {
    verify_with(settings, &[SECRET], &[("x-signature", value)], BODY, NOW)
}

const HEX_MILLIS: &str = "7fe06c6cdffca1ea4280e9e6d421edeec8a3f9fe60ac82b2147529b487f71a9c";
const HEX_SECONDS: &str = "03425fe0bf034fb6844df9c6b9b95500d5d3ae073a9bca75878cebbb937e86c2";
const HEX_BODY: &str = "4307c08f1d66351de5bcf023bdaec5fef19af2b0c294bafadd650515ced15f9c";

#[test]
fn every_shape_of_a_signature_has_its_vector() {
    let prefixed = ValueForm::Prefixed("sha256=".to_owned());
    let sha512 = "mWOs8yP6/+Yce2cTrrFKJAfRNP6Jfrkh3g0n2xZln/pjL/VeogZSMb3jfRHGkwBTVXQGZS6PIGxMTcQmqiaU1g==";
    for (settings, value) in [
        (paired(Format::UnixMillis), format!("t=1786000000000, v1={HEX_MILLIS}")),
        (paired(Format::UnixSeconds), format!("t=1786000000,v1={HEX_SECONDS}")),
        (paired(Format::Auto), format!("t=1786000000,v1={HEX_BODY},v1={HEX_SECONDS}")),
        (bare(Algorithm::Sha256, Encoding::Hex), HEX_BODY.to_owned()),
        (bare(Algorithm::Sha256, Encoding::Hex), HEX_BODY.to_uppercase()),
        (bare(Algorithm::Sha1, Encoding::Hex), "6bc1ab06f1859950b9b0b36cfe86876bc8dde172".to_owned()),
        (bare(Algorithm::Sha512, Encoding::Base64), sha512.to_owned()),
        (bare(Algorithm::Sha512, Encoding::Base64), sha512.trim_end_matches('=').to_owned()),
        (settings(prefixed, Algorithm::Sha256, Encoding::Hex, "{body}"), format!("sha256={HEX_BODY}")),
    ] {
        let verified = verify(&settings, &value);
        assert!(verified.is_ok(), "{value}: {verified:?}");
    }
}

#[test]
fn a_time_in_a_header_of_its_own_is_signed_as_it_is_written() {
    let time = Time {
        header: Some(HeaderName::from_static("x-time")),
        format: Format::Auto,
        tolerance: Tolerance::USUAL,
    };
    let settings = Settings {
        time: Some(time),
        ..settings(ValueForm::Bare, Algorithm::Sha256, Encoding::Hex, "{body}{timestamp}")
    };
    let signature = "4659e59976299352c02dc1e4e7233a700d5eb8044a4b69e9dcccdd7e3d81661a";
    let at = Timestamp::parse_rfc3339("2026-05-21T14:00:00Z").unwrap();
    let verify = |time: &str| {
        verify_with(&settings, &[SECRET], &[("x-signature", signature), ("x-time", time)], BODY, at)
    };
    assert_eq!(verify("2026-05-21T14:00:00Z"), Ok(Proof::signed_at(Some("2026-05-21T14:00:00Z"))));
    assert_eq!(verify("2026-05-21T14:00:00+00:00"), Err(Refusal::Mismatch));
    assert_eq!(verify("now"), Err(Refusal::unreadable("x-time")));
}

#[test]
fn standard_webhooks_can_be_written_as_a_keyed_hash() {
    let time = Time {
        header: Some(HeaderName::from_static("webhook-timestamp")),
        format: Format::UnixSeconds,
        tolerance: Tolerance::USUAL,
    };
    let settings = Settings {
        headers: vec![HeaderName::from_static("webhook-signature")],
        key: KeyForm::Encoded { prefix: "whsec_".to_owned(), encoding: Encoding::Base64 },
        time: Some(time),
        id_header: Some(HeaderName::from_static("webhook-id")),
        ..settings(
            ValueForm::Versioned("v1".to_owned()),
            Algorithm::Sha256,
            Encoding::Base64,
            "{id}.{timestamp}.{body}",
        )
    };
    let headers = [
        ("webhook-id", "msg_loFOjxBNrRLzqYUf"),
        ("webhook-timestamp", "1731705121"),
        ("webhook-signature", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    ];
    let body = br#"{"event_type":"ping","data":{"success":true}}"#;
    let now = Timestamp::from_seconds(1_731_705_121);
    let proof = verify_with(&settings, &["whsec_plJ3nmyCDGBKInavdOK15jsl"], &headers, body, now).unwrap();
    assert_eq!(proof.id(), Some("msg_loFOjxBNrRLzqYUf"));
}

#[test]
fn any_of_several_secrets_matches_and_another_does_not() {
    let settings = bare(Algorithm::Sha256, Encoding::Hex);
    for (secrets, expected) in
        [(&["old", SECRET][..], true), (&[SECRET, "next"], true), (&["old"], false), (&["whk_secre"], false)]
    {
        let verified = verify_with(&settings, secrets, &[("x-signature", HEX_BODY)], BODY, NOW);
        assert_eq!(verified.is_ok(), expected, "{secrets:?}");
    }
}

#[test]
fn what_was_tampered_with_does_not_match() {
    let value = format!("t=1786000000,v1={HEX_SECONDS}");
    let settings = paired(Format::UnixSeconds);
    let headers = [("x-signature", value.as_str())];
    assert_eq!(verify_with(&settings, &[SECRET], &headers, &BODY[1..], NOW), Err(Refusal::Mismatch));
    for odd in [
        format!("t=1786000001,v1={HEX_SECONDS}"),
        format!("t=1786000000,v1={}", &HEX_SECONDS[2..]),
        format!("t=1786000000,v1={}", &HEX_SECONDS[1..]),
        format!("t=1786000000,v0={HEX_SECONDS}"),
        "t=1786000000,v1=".to_owned(),
        "t=1786000000".to_owned(),
    ] {
        assert_eq!(verify(&settings, &odd), Err(Refusal::Mismatch), "{odd}");
    }
}

#[test]
fn a_signature_that_is_stale_or_ahead_is_refused() {
    let settings = paired(Format::UnixSeconds);
    let value = format!("t=1786000000,v1={HEX_SECONDS}");
    for (offset, expected) in [
        (300, Ok(Proof::signed_at(Some("1786000000")))),
        (301, Err(Refusal::Untimely { seconds: 301 })),
        (-301, Err(Refusal::Untimely { seconds: -301 })),
    ] {
        let now = Timestamp::from_seconds(NOW.as_seconds() + offset);
        let verified = verify_with(&settings, &[SECRET], &[("x-signature", &value)], BODY, now);
        assert_eq!(verified, expected, "{offset}");
    }
}

#[test]
fn a_header_that_is_missing_repeated_or_odd_is_refused() {
    let unreadable = Err(Refusal::unreadable("x-signature"));
    let settings = paired(Format::UnixSeconds);
    let good = format!("t=1786000000,v1={HEX_SECONDS}");
    let twice = [("x-signature", good.as_str()), ("x-signature", good.as_str())];
    assert_eq!(verify_with(&settings, &[SECRET], &[], BODY, NOW), unreadable);
    assert_eq!(verify_with(&settings, &[SECRET], &twice, BODY, NOW), unreadable);
    for odd in ["", "x", &format!("v1={HEX_SECONDS}"), &format!("t=x,v1={HEX_SECONDS}"), &"t=1,".repeat(2000)]
    {
        assert_eq!(verify(&settings, odd), unreadable, "{odd:.40}");
    }
}

#[test]
fn of_two_headers_the_one_that_is_there_counts() {
    let headers = vec![HeaderName::from_static("old-signature"), HeaderName::from_static("x-signature")];
    let settings = Settings { headers, ..bare(Algorithm::Sha256, Encoding::Hex) };
    assert!(verify(&settings, HEX_BODY).is_ok());
    let both = [("old-signature", "00"), ("x-signature", HEX_BODY)];
    assert_eq!(verify_with(&settings, &[SECRET], &both, BODY, NOW), Err(Refusal::Mismatch));
}

#[test]
fn secrets_that_make_no_key_are_refused() {
    let base64 = KeyForm::Encoded { prefix: "whsec_".to_owned(), encoding: Encoding::Base64 };
    let settings = Settings { key: base64, ..bare(Algorithm::Sha256, Encoding::Hex) };
    for (secrets, expected) in [
        (&[][..], SecretError::None),
        (&["whsec_"], SecretError::Empty),
        (&["whsec_c2VjcmV0", "not base64!"], SecretError::Encoding),
    ] {
        let secrets: Vec<SecretString> = secrets.iter().copied().map(SecretString::from).collect();
        assert_eq!(Keyed::new(settings.clone(), &secrets).err(), Some(expected));
    }
}

proptest! {
    #[test]
    fn no_header_panics(value in "[ -~]{0,80}", body: Vec<u8>, now: i64) {
        let headers = [("x-signature", value.as_str())];
        for settings in [paired(Format::Auto), bare(Algorithm::Sha512, Encoding::Base64)] {
            let verified = verify_with(&settings, &[SECRET], &headers, &body, Timestamp::from_micros(now));
            prop_assert!(verified.is_err());
        }
    }
}
