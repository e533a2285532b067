//! The MD5 digests by which SDKs notice that a message was changed on the way.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>

use md5::{Digest, Md5};

use super::message::{Attribute, AttributeValue};

pub(super) fn md5_of(text: &str) -> [u8; 16] {
    Md5::digest(text.as_bytes()).into()
}

/// The digest of attributes in the order of their names: each name, type and value with its length before it.
pub(in crate::queue) fn md5_of_attributes<'a>(
    attributes: impl IntoIterator<Item = &'a Attribute>,
) -> [u8; 16] {
    let mut digest = Md5::new();
    for attribute in attributes {
        add(&mut digest, attribute.name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        match &attribute.value {
            AttributeValue::Text(text) => {
                digest.update([1]);
                add(&mut digest, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                digest.update([2]);
                add(&mut digest, bytes);
            }
        }
    }
    digest.finalize().into()
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

/// Lower-case digits.
pub(in crate::queue) fn hex(digest: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, data_type: &str, value: AttributeValue) -> Attribute {
        Attribute { name: name.into(), data_type: data_type.into(), value }
    }

    /// From RFC 1321, and computed with Python's hashlib.
    #[test]
    fn digests_are_those_of_known_answers() {
        assert_eq!(hex(md5_of("abc")), "900150983cd24fb0d6963f7d28e17f72");
        let text = attribute("a", "String", AttributeValue::Text("b".into()));
        let binary = attribute("c", "Binary.gz", AttributeValue::Binary([1, 2].into()));
        assert_eq!(hex(md5_of_attributes([&text])), "bef8bf215374a0a228d67533b1a488be");
        assert_eq!(hex(md5_of_attributes([&text, &binary])), "30545433fec3b454ffa0f5aab8542575");
    }
}
