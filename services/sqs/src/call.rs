//! The calls to SQS, and the permission that each needs.

/// A call to SQS. A call that takes a batch needs the same permission as one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Find a queue by its name.
    Find,
    /// Read a queue's attributes.
    Inspect,
    /// Receive messages.
    Receive,
    /// Delete messages.
    Delete,
    /// Change the visibility timeout of messages.
    Extend,
    /// Send messages.
    Send,
}

impl Call {
    /// The permission as IAM names it.
    pub fn permission(self) -> &'static str {
        match self {
            Self::Find => "sqs:GetQueueUrl",
            Self::Inspect => "sqs:GetQueueAttributes",
            Self::Receive => "sqs:ReceiveMessage",
            Self::Delete => "sqs:DeleteMessage",
            Self::Extend => "sqs:ChangeMessageVisibility",
            Self::Send => "sqs:SendMessage",
        }
    }

    /// The call in one word, as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Inspect => "inspect",
            Self::Receive => "receive",
            Self::Delete => "delete",
            Self::Extend => "extend",
            Self::Send => "send",
        }
    }

    /// What a queue that is encrypted with a KMS key needs for this call besides.
    pub(crate) fn key_permissions(self) -> &'static str {
        match self {
            Self::Send => "kms:GenerateDataKey and kms:Decrypt",
            _ => "kms:Decrypt",
        }
    }
}
