//! temp
use serde::{Deserialize, Serialize};
/// temp
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag(String);
impl ETag {
    /// temp
    pub fn parse(raw: &str) -> Option<Self> {
        (!raw.is_empty() && raw.len() <= 256 && raw.bytes().all(|b| (0x21..0x7f).contains(&b)))
            .then(|| Self(raw.to_owned()))
    }
    /// temp
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
