//! What is wrong with the KMS key of a queue.

/// Why SQS cannot use the key that encrypts a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsProblem {
    /// Whoever calls may not use it.
    Denied,
    /// It is disabled.
    Disabled,
    /// It does not exist.
    Missing,
    /// It is pending deletion, or cannot be used for now.
    Unusable,
    /// It is of a kind that cannot encrypt.
    WrongKind,
    /// The account has not signed up for KMS.
    NotSignedUp,
    /// KMS throttles.
    Throttled,
}

impl KmsProblem {
    /// From SQS's code, under either protocol's name; `None` for a code that is not about a key.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        let name = code.rsplit('#').next().unwrap_or(code);
        let name = name.strip_prefix("KMS.").or_else(|| name.strip_prefix("Kms"))?;
        match name.trim_end_matches("Exception") {
            "AccessDenied" => Some(Self::Denied),
            "Disabled" => Some(Self::Disabled),
            "NotFound" => Some(Self::Missing),
            "InvalidState" => Some(Self::Unusable),
            "InvalidKeyUsage" => Some(Self::WrongKind),
            "OptInRequired" => Some(Self::NotSignedUp),
            "Throttling" | "Throttled" => Some(Self::Throttled),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Denied => "may not be used by this role",
            Self::Disabled => "is disabled: enable it, or give the queue another key",
            Self::Missing => "does not exist: give the queue another key, or restore it",
            Self::Unusable => "cannot be used: it is pending deletion, or its key store is unavailable",
            Self::WrongKind => "cannot encrypt: give the queue a symmetric key",
            Self::NotSignedUp => "cannot be used: the account has not signed up for KMS",
            Self::Throttled => "is throttled: wait, or raise KmsDataKeyReusePeriodSeconds of the queue",
        }
    }
}

/// The ARN of a key that SQS's answer names. Nothing else of an answer is repeated: it may quote receipt
/// handles.
pub(crate) fn key_in(message: &str) -> Option<String> {
    let arns = message.split(|character: char| !is_of_an_arn(character)).map(|arn| arn.trim_end_matches('.'));
    let is_key = |arn: &&str| arn.starts_with("arn:") && arn.contains(":kms:") && arn.len() <= 200;
    arns.into_iter().find(is_key).map(str::to_owned)
}

fn is_of_an_arn(character: char) -> bool {
    character.is_ascii_alphanumeric() || ":/-_.".contains(character)
}
