//! Where SQS is, read from URLs.

use std::net::IpAddr;

/// The region in a queue's URL on AWS; `None` for other URLs and for names.
pub fn region_of(queue: &str) -> Option<&str> {
    let host = host(queue)?;
    let is_aws = |suffix: &&str| *suffix == "amazonaws.com" || *suffix == "amazonaws.com.cn";
    let (region, suffix) = match host.strip_prefix("sqs.") {
        Some(rest) => rest.split_once('.')?,
        None => host.split_once(".queue.")?,
    };
    Some(region).filter(|_| is_aws(&suffix))
}

/// Whether messages and credentials travel in clear text to another machine.
pub fn is_plain_and_remote(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
        && host(endpoint).is_some_and(|host| !is_loopback(host))
}

/// Whether a URL has a port to which nobody can connect: none of the numbers from 1 to 65535.
pub fn has_wrong_port(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let after_host = authority.and_then(|authority| authority.rsplit(['@', ']']).next());
    let port = after_host.and_then(|text| text.split_once(':')).map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    match host_and_port.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host_and_port.split(':').next(),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_in_both_forms_of_urls_on_aws_and_in_no_other() {
        assert_eq!(region_of("https://sqs.eu-west-1.amazonaws.com/123456789012/logins"), Some("eu-west-1"));
        assert_eq!(region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/logins"), Some("cn-north-1"));
        assert_eq!(region_of("https://eu-west-1.queue.amazonaws.com/1/logins"), Some("eu-west-1"));
        for other in [
            "logins",
            "http://localhost:4566/0/logins",
            "https://sqs.example.com/1/q",
            "https://queue.amazonaws.com/1/q",
        ] {
            assert_eq!(region_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_port_is_between_1_and_65535() {
        for wrong in
            ["http://h:0", "http://h:65536/q", "https://[::1]:99999", "http://u:p@h:x/", "http://h:-1"]
        {
            assert!(has_wrong_port(wrong), "{wrong}");
        }
        for right in
            ["http://h", "http://h:9324/0/q", "https://[::1]/", "http://u:p@h/", "q", "http://h:/x:0"]
        {
            assert!(!has_wrong_port(right), "{right}");
        }
    }

    #[test]
    fn only_http_to_another_machine_is_plain_and_remote() {
        for remote in [
            "http://queue:9324",
            "HTTP://10.0.0.1/",
            "http://user@sqs.eu-west-1.amazonaws.com",
            "http://[2001:db8::1]:80",
        ] {
            assert!(is_plain_and_remote(remote), "{remote}");
        }
        for fine in [
            "https://queue:9324",
            "http://localhost:9324",
            "http://127.0.0.9",
            "http://[::1]:9324/",
            "http://[::ffff:127.0.0.1]",
            "eu-west-1",
            "http://sqs.localhost:4566",
        ] {
            assert!(!is_plain_and_remote(fine), "{fine}");
        }
    }
}
