//! Sources that post no webhooks: what is fetched of them, or dropped by them, is stored in the relay's
//! own format.

use http::{Request, Response, StatusCode};

use super::native;
use crate::clock::Timestamp;
use crate::source::json::Malformed;
use crate::source::{Delivery, Proof, Reading, Refusal, Source};

/// A source that is polled, or that drops files.
pub struct Fed;

impl Source for Fed {
    fn verify(&self, _: &Delivery<'_>, _: Timestamp) -> Result<Proof, Refusal> {
        Err(Refusal::Mismatch)
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        Ok(Reading { changes: native::parse(body)?, ..Reading::default() })
    }

    /// Nobody posts here, whatever the method.
    fn handshake(&self, _: &Request<()>) -> Option<Response<String>> {
        let mut answer = Response::new(String::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Some(answer)
    }
}
