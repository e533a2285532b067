//! What the two sides of a stream announce to each other in their headers, because the contract has grown.

use std::fmt;

use tonic::metadata::{MetadataMap, MetadataValue};

/// A part of the contract that older versions do not know.
///
/// Old and new versions run side by side during an upgrade. A field that a peer does not know would be lost
/// without a word, so whoever understands it says so with a header of value 1, and whoever needs it waits for
/// such a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A writer takes rejected records and claims their keys.
    Claims,
    /// A writer takes records of several rows, and of none.
    Rows,
    /// A writer takes targets that say what happens to a row whose business key is in the table already.
    Upserts,
    /// A reader sends the messages' attributes.
    Attributes,
}

impl Feature {
    const fn header(self) -> &'static str {
        match self {
            Self::Claims => "veilpost-claims",
            Self::Rows => "veilpost-rows",
            Self::Upserts => "veilpost-upserts",
            Self::Attributes => "veilpost-attributes",
        }
    }

    /// Says in the headers that this side knows it.
    pub fn announce(self, headers: &mut MetadataMap) {
        headers.insert(self.header(), MetadataValue::from_static("1"));
    }

    /// Whether the other side has said that it knows it.
    pub fn is_announced(self, headers: &MetadataMap) -> bool {
        headers.get(self.header()).is_some_and(|announced| announced == "1")
    }
}

/// What it is that a peer does not know, for messages.
impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Claims => "rejected records",
            Self::Rows => "several rows of one message",
            Self::Upserts => "on_conflict",
            Self::Attributes => "message attributes",
        })
    }
}
