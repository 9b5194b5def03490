//! How the header with the signature is written.

/// Most signatures in one header.
const SIGNATURES_MAX: usize = 32;

/// How the header with the signature is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueForm {
    /// The signature alone.
    Bare,
    /// A fixed text, such as `sha256=`, and the signature.
    Prefixed(String),
    /// Pairs such as `t=1786000000, v1=7fe0…`.
    Pairs {
        /// Name of the pair with the time of signing.
        time: String,
        /// Name of the pairs with signatures; there may be several of that name.
        signature: String,
    },
    /// Entries such as `v1,rAvf… v1,x9Yz…`, separated by spaces; those of other versions are skipped.
    Versioned(String),
}

/// What a header holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The time of signing as it was written.
    pub time: Option<&'a str>,
    /// The signatures, as they are written.
    pub signatures: Vec<&'a str>,
}

impl ValueForm {
    /// Takes a header apart; `None` when it is not of this form.
    pub fn read<'a>(&self, value: &'a str) -> Option<Parts<'a>> {
        match self {
            Self::Bare => Some(Parts { time: None, signatures: vec![value] }),
            Self::Prefixed(prefix) => {
                let signature = value.strip_prefix(prefix.as_str())?;
                Some(Parts { time: None, signatures: vec![signature] })
            }
            Self::Pairs { time, signature } => pairs(value, time, signature),
            Self::Versioned(version) => {
                let entries = value.split(' ').filter_map(|entry| entry.split_once(','));
                let of_version =
                    entries.filter(|(found, _)| found == version).map(|(_, signature)| signature);
                Some(Parts { time: None, signatures: of_version.take(SIGNATURES_MAX).collect() })
            }
        }
    }
}

/// Two times of signing are no header: which of them was signed would be anybody's guess.
fn pairs<'a>(value: &'a str, time: &str, signature: &str) -> Option<Parts<'a>> {
    let mut parts = Parts { time: None, signatures: Vec::new() };
    for pair in value.split(',') {
        let (name, value) = pair.trim().split_once('=')?;
        if name == time && parts.time.replace(value).is_some() {
            return None;
        }
        if name == signature && parts.signatures.len() < SIGNATURES_MAX {
            parts.signatures.push(value);
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_apart_by_its_form() {
        let pairs = ValueForm::Pairs { time: "t".to_owned(), signature: "v1".to_owned() };
        let prefixed = ValueForm::Prefixed("sha256=".to_owned());
        let versioned = ValueForm::Versioned("v1".to_owned());
        let found = |time, signatures: &[&'static str]| Some(Parts { time, signatures: signatures.to_vec() });
        for (form, value, expected) in [
            (&ValueForm::Bare, "ab", found(None, &["ab"])),
            (&prefixed, "sha256=ab", found(None, &["ab"])),
            (&prefixed, "sha1=ab", None),
            (&pairs, "t=1,v1=ab", found(Some("1"), &["ab"])),
            (&pairs, "v1=ab, v0=x, t=1 ,v1=cd==", found(Some("1"), &["ab", "cd=="])),
            (&pairs, "v1=ab", found(None, &["ab"])),
            (&pairs, "t=1,t=2,v1=ab", None),
            (&pairs, "ab", None),
            (&versioned, "v1,ab v2,cd v1,ef", found(None, &["ab", "ef"])),
            (&versioned, "ab", found(None, &[])),
        ] {
            assert_eq!(form.read(value), expected, "{value}");
        }
    }
}
