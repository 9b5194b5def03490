//! The other side, for tests: tokens as a transmitter would sign them, and its published key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// A signer whose key everybody who knows the number can make.
pub struct Signer {
    pair: Ed25519KeyPair,
    /// The id of its key.
    pub id: String,
}

impl Signer {
    /// The signer of that number.
    pub fn new(number: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
        Self { pair, id: format!("key-{number}") }
    }

    /// A token with these claims, in compact form.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": self.id}), claims)
    }

    /// A token with this header and these claims, in compact form.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The set of keys that these signers publish.
    pub fn published(signers: &[&Self]) -> String {
        let key = |signer: &&Self| {
            let x = URL_SAFE_NO_PAD.encode(signer.pair.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": signer.id, "x": x})
        };
        json!({"keys": signers.iter().map(key).collect::<Vec<_>>()}).to_string()
    }
}
