//! `trace-id`: the trace that the producer sent the message in.

/// The trace id of a `traceparent` (W3C Trace Context, section 3.2): 32 lower-case hexadecimal digits. `None`
/// when `traceparent` is not one.
pub(super) fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next().is_some();
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || !rest);
    let whole = is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    (known && whole).then_some(trace)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An id of zeros only is none.
fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    /// <https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers>.
    #[test]
    fn the_examples_of_w3c_are_read() {
        for flags in ["01", "00"] {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            assert_eq!(trace_id(&text), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        }
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later";
        assert_eq!(trace_id(later), Some("4bf92f3577b34da6a3ce929d0e0e4736"), "later versions only add");
    }

    #[test]
    fn what_is_no_traceparent_has_no_trace() {
        for text in [
            "",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
