//! The database's URL, read as psql reads it. No message shows a part of it that may be a secret.

use std::net::IpAddr;

use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use super::tls::{SslMode, Tls};

/// What is wrong with a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUrl(pub(super) String);

/// Parameters that psql takes and that change nothing here: the writer has limits of its own.
const WITHOUT_EFFECT: [&str; 12] = [
    "application_name",
    "connect_timeout",
    "fallback_application_name",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
];

/// Parameters of which only these values are supported: they ask for nothing that the writer does not do.
const SUPPORTED_VALUES: [(&str, &[&str]); 5] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["auto", "utf8", "UTF8", "UTF-8"]),
    ("gssencmode", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
    ("target_session_attrs", &["any", "read-write", "primary", "prefer-standby"]),
];

/// Parameters that psql takes and the writer does not.
const UNSUPPORTED: [&str; 14] = [
    "gssdelegation",
    "krbsrvname",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
];

/// What people write, and what they mean.
const MEANT: [(&str, &str); 16] = [
    ("pass", "password"),
    ("passwd", "password"),
    ("pwd", "password"),
    ("username", "user"),
    ("db", "dbname"),
    ("database", "dbname"),
    ("hostname", "host"),
    ("tls", "sslmode"),
    ("ssl_mode", "sslmode"),
    ("usessl", "sslmode"),
    ("sslaccept", "sslmode"),
    ("sslca", "sslrootcert"),
    ("schema", "options=-csearch_path%3DSCHEMA"),
    ("currentschema", "options=-csearch_path%3DSCHEMA"),
    ("search_path", "options=-csearch_path%3DSCHEMA"),
    ("timeout", "connect_timeout"),
];

const ESCAPES: &str = "in user and password write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20";

/// Where the database is, and how to log in.
#[derive(Default)]
pub(super) struct DatabaseUrl {
    /// Parameters for sqlx, decoded.
    parameters: Vec<(String, Zeroizing<String>)>,
    host: Option<String>,
    has_host_address: bool,
    tls: Tls,
}

impl DatabaseUrl {
    pub(super) fn parse(text: &str) -> Result<Self, BadUrl> {
        let rest = after_scheme(text.trim())?;
        let mut url = Self::default();
        let (rest, query) = split_query(rest);
        url.parse_authority(rest)?;
        for (index, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            url.parse_parameter(index + 1, parameter)?;
        }
        url.tls.settle();
        Ok(url)
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whether the way to the database leaves this machine.
    pub(super) fn is_remote(&self, options: &PgConnectOptions) -> bool {
        let host = self.host.as_deref().unwrap_or_else(|| options.get_host());
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        !(is_loopback || host == "localhost" || host.starts_with('/'))
    }

    /// For sqlx, which adds the `PG…` variables and the password file. It gets no URL that it could read in
    /// another way, and no parameter that it does not know, because it would log that one.
    pub(super) fn options(&self) -> Result<PgConnectOptions, BadUrl> {
        let mut url = Zeroizing::new("postgres:///?".to_owned());
        for (name, value) in &self.parameters {
            url.extend([name.as_str(), "="]);
            value.bytes().for_each(|byte| push_escaped(&mut url, byte));
            url.push('&');
        }
        url.extend(["sslmode=", self.tls.mode.name()]);
        url.parse().map_err(|_| BadUrl("a parameter has a value that it cannot have".to_owned()))
    }

    fn parse_authority(&mut self, text: &str) -> Result<(), BadUrl> {
        let (user, rest) = split_user(text);
        if let Some(user) = user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            self.push_decoded("user", "the user", user)?;
            self.push_decoded("password", "the password", password)?;
        }
        let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
        self.parse_host_and_port(host).map_err(|bad| bad.hinting(rest.contains('@')))?;
        if name.contains('@') {
            return Err(bad("an @ follows the host").hinting(true));
        }
        self.push_decoded("dbname", "the database's name", name)
    }

    fn parse_host_and_port(&mut self, text: &str) -> Result<(), BadUrl> {
        if text.contains('@') {
            return Err(bad("there is a second @ before the host"));
        }
        if text.contains(',') {
            return Err(several_hosts());
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest
                    .split_once(']')
                    .ok_or_else(|| bad("the bracket of an IPv6 address is not closed"))?;
                let port = if rest.is_empty() { Some("") } else { rest.strip_prefix(':') };
                (host, port.ok_or_else(|| bad("only a port may follow the bracket of an IPv6 address"))?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        if port.contains(':') {
            return Err(bad("an IPv6 address needs brackets, as in [::1]:5432"));
        }
        self.push_host(&decoded("the host", host)?)?;
        self.push_port(port)
    }

    fn parse_parameter(&mut self, number: usize, text: &str) -> Result<(), BadUrl> {
        if text.is_empty() {
            return Ok(());
        }
        let Some((name, value)) = text.split_once('=') else {
            return Err(bad(format!("parameter {number} after the ? has no =")));
        };
        let name = decoded("the name of a parameter", name)?;
        let value = decoded(&format!("parameter {number} after the ?"), value)?;
        match name.as_str() {
            "host" => self.push_host(&value),
            "hostaddr" => self.push_host_address(&value),
            "port" => self.push_port(&value),
            "sslmode" | "ssl-mode" => self.tls.set_mode(&value),
            "ssl" if *value == "true" => self.tls.set_mode(SslMode::Require.name()),
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => self.tls.set_roots(&value),
            "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" | "dbname" | "user" | "password" | "options" => {
                self.push(&name, value);
                Ok(())
            }
            "statement-cache-capacity" if value.parse::<usize>().is_ok() => {
                self.push(&name, value);
                Ok(())
            }
            known if WITHOUT_EFFECT.contains(&known) => Ok(()),
            other => check_other(number, other, &value),
        }
    }

    fn push(&mut self, name: &str, value: Zeroizing<String>) {
        self.parameters.push((name.to_owned(), value));
    }

    /// Leaves out what is empty, as psql does: a default applies.
    fn push_decoded(&mut self, name: &str, what: &str, text: &str) -> Result<(), BadUrl> {
        let value = decoded(what, text)?;
        if !value.is_empty() {
            self.push(name, value);
        }
        Ok(())
    }

    fn push_host(&mut self, host: &str) -> Result<(), BadUrl> {
        match host {
            "" => Ok(()),
            many if many.contains(',') => Err(several_hosts()),
            socket if socket.starts_with('@') => {
                Err(bad("sockets in the abstract namespace are not supported"))
            }
            _ if self.has_host_address => Err(host_twice()),
            _ => {
                self.host = Some(host.to_owned());
                self.push("host", host.to_owned().into());
                Ok(())
            }
        }
    }

    fn push_host_address(&mut self, address: &str) -> Result<(), BadUrl> {
        if self.host.is_some() {
            return Err(host_twice());
        }
        address.parse::<IpAddr>().map_err(|_| bad("hostaddr is not an IP address"))?;
        self.push_host(address)?;
        self.has_host_address = true;
        Ok(())
    }

    fn push_port(&mut self, port: &str) -> Result<(), BadUrl> {
        match port {
            "" => Ok(()),
            many if many.contains(',') => Err(several_hosts()),
            _ if port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0) =>
            {
                self.push("port", port.to_owned().into());
                Ok(())
            }
            _ => Err(bad("the port is not a number between 1 and 65535")),
        }
    }
}

impl BadUrl {
    /// Says how to escape, where something that is not escaped may be the cause.
    fn hinting(self, may_be_unescaped: bool) -> Self {
        if may_be_unescaped && !self.0.contains(ESCAPES) {
            Self(format!("{}; {ESCAPES}", self.0))
        } else {
            self
        }
    }
}

pub(super) fn bad(why: impl Into<String>) -> BadUrl {
    BadUrl(why.into())
}

fn several_hosts() -> BadUrl {
    bad("it names several hosts, and the writer connects to one: name the one that leads to the primary")
}

fn host_twice() -> BadUrl {
    bad("host and hostaddr are both given; give only one")
}

fn after_scheme(text: &str) -> Result<&str, BadUrl> {
    let after = |start: &str| {
        let (front, rest) = text.split_at_checked(start.len())?;
        front.eq_ignore_ascii_case(start).then_some(rest)
    };
    if let Some(rest) = after("postgres://").or_else(|| after("postgresql://")) {
        return Ok(rest);
    }
    let example = "such as postgres://user:password@host:5432/name";
    Err(bad(if text.is_empty() {
        format!("it is empty; write a URL {example}")
    } else if after("jdbc:").is_some() {
        format!(
            "it is a JDBC URL: leave out `jdbc:`, and put user and password before the host; write a URL {example}"
        )
    } else if text.contains("://") {
        format!("it does not begin with postgres:// or postgresql://; write a URL {example}")
    } else if text.contains('=') {
        format!("it is a list of keys and values; write a URL {example}")
    } else {
        format!("it is not a URL {example}")
    }))
}

/// What is before the first @, if that comes before the first /.
fn split_user(text: &str) -> (Option<&str>, &str) {
    match text.split_once('@') {
        Some((user, rest)) if !user.contains('/') => (Some(user), rest),
        _ => (None, text),
    }
}

/// The query begins at the first ? after the host; a ? in user or password does not begin it.
fn split_query(text: &str) -> (&str, Option<&str>) {
    let (_, rest) = split_user(text);
    let query = rest.split_once('?').map(|(_, query)| query);
    let before = query.and_then(|query| text.strip_suffix(query)?.strip_suffix('?'));
    (before.unwrap_or(text), query)
}

/// What a parameter with a name that is not handled elsewhere is: a name is shown only if it is known,
/// because it may be a part of a password.
fn check_other(number: usize, name: &str, value: &str) -> Result<(), BadUrl> {
    if let Some(rest) = name.strip_prefix("options[").and_then(|rest| rest.strip_suffix(']')) {
        return Err(bad(format!("write parameter {number} after the ? as options=-cNAME%3DVALUE"))
            .hinting(rest.contains('@')));
    }
    if let Some((known, values)) = SUPPORTED_VALUES.iter().find(|(known, _)| *known == name) {
        let is_supported = values.contains(&value);
        return if is_supported {
            Ok(())
        } else {
            Err(bad(format!(
                "of {known} only these values are supported: {}; or leave it out",
                values.join(", ")
            )))
        };
    }
    if let Some(known) = UNSUPPORTED.iter().find(|known| **known == name) {
        return Err(bad(format!("the parameter {known} is not supported: leave it out")));
    }
    if ["ssl", "statement-cache-capacity"].contains(&name) {
        return Err(bad(format!("the parameter {name} has a value that it cannot have")));
    }
    let meant = MEANT.iter().find(|(written, _)| name.eq_ignore_ascii_case(written)).map(|(_, meant)| *meant);
    let hint =
        meant.or_else(|| nearest(name)).map(|meant| format!("; {meant} may be meant")).unwrap_or_default();
    Err(bad(format!("parameter {number} after the ? has an unknown name{hint}")).hinting(true))
}

/// A known name that differs in one place or in the case of its letters.
fn nearest(name: &str) -> Option<&'static str> {
    const KNOWN: [&str; 11] = [
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "options",
    ];
    let name = name.to_ascii_lowercase();
    KNOWN.into_iter().find(|known| {
        let same_start = name.bytes().zip(known.bytes()).take_while(|(one, other)| one == other).count();
        let same_end =
            name.bytes().rev().zip(known.bytes().rev()).take_while(|(one, other)| one == other).count();
        name.len().abs_diff(known.len()) <= 1 && same_start + same_end + 1 >= name.len().max(known.len())
    })
}

fn decoded(what: &str, text: &str) -> Result<Zeroizing<String>, BadUrl> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let byte = after.split_first_chunk().and_then(|(digits, _)| from_hexadecimal(*digits));
        match byte {
            None => {
                let why =
                    format!("in {what}, two hexadecimal digits must follow a %; a % itself is written %25");
                return Err(bad(why));
            }
            Some(0) => return Err(bad(format!("in {what}, %00 is not allowed"))),
            Some(byte) => bytes.push(byte),
        }
        rest = after.get(2..).unwrap_or_default();
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(format!("{what} is not UTF-8")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn from_hexadecimal(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

fn push_escaped(url: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() {
        url.push(char::from(byte));
    } else {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
        url.extend(['%', digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<PgConnectOptions, BadUrl> {
        DatabaseUrl::parse(text)?.options()
    }

    /// Host, port, user and database, as sqlx understands them.
    fn parts(text: &str) -> (String, u16, String, Option<String>) {
        let options = parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        let host = options.get_socket().map(|socket| socket.display().to_string());
        let host = host.unwrap_or_else(|| options.get_host().to_owned());
        (
            host,
            options.get_port(),
            options.get_username().to_owned(),
            options.get_database().map(str::to_owned),
        )
    }

    #[test]
    fn what_psql_takes_means_the_same_here() {
        for (text, host, port, user, name) in [
            ("postgres://u:p@h:6543/d", "h", 6543, "u", "d"),
            ("postgresql://u@h/d?sslmode=disable", "h", 5432, "u", "d"),
            ("postgres://u:p@[::1]:6543/d", "::1", 6543, "u", "d"),
            ("postgres://u:p@[fe80::1%25eth0]/d", "fe80::1%eth0", 5432, "u", "d"),
            ("postgres://u:p#a?s&s=w+o:rd@h/d", "h", 5432, "u", "d"),
            ("postgres://us%40er:p%2Fw@h/d%20x", "h", 5432, "us@er", "d x"),
            ("postgres:///d?host=h&port=6543&user=u", "h", 6543, "u", "d"),
            ("postgres://?host=h&user=u&dbname=d", "h", 5432, "u", "d"),
            ("postgres://u@/d?host=/var/run/postgresql", "/var/run/postgresql", 5432, "u", "d"),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", "/var/run/postgresql", 5432, "u", "d"),
            ("postgres://u@h:/d", "h", 5432, "u", "d"),
            ("postgres://u:@h/d?connect_timeout=10&target_session_attrs=read-write", "h", 5432, "u", "d"),
            ("postgres:///d?hostaddr=127.0.0.1&user=u", "127.0.0.1", 5432, "u", "d"),
            (" postgres://u@h/d\n", "h", 5432, "u", "d"),
        ] {
            let expected = (host.to_owned(), port, user.to_owned(), Some(name.to_owned()));
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn every_wrong_part_is_named_and_no_secret_is_shown() {
        for (text, named) in [
            ("", "empty"),
            ("s3cret", "postgres://user:password@host"),
            ("mysql://u:s3cret@h/d", "does not begin with postgres://"),
            ("jdbc:postgresql://h/d?user=u&password=s3cret", "jdbc:"),
            ("host=h user=u password=s3cret", "keys and values"),
            ("postgres://u:s3cret@h:port/d", "the port"),
            ("postgres://u:s3cret@h:0/d", "the port"),
            ("postgres://u:s3cret@h:65536/d", "the port"),
            ("postgres://u:s3cret@h:+1/d", "the port"),
            ("postgres://u:p@s3cret@h/d", "%40"),
            ("postgres://u:p/s3cret@h/d", "%2F"),
            ("postgres://u:1234/s3cret@h/d", "%2F"),
            ("postgres://u:s3cret%@h/d", "in the password"),
            ("postgres://u:s3cret%zz@h/d", "in the password"),
            ("postgres://u:s3cret%00@h/d", "%00"),
            ("postgres://u:s3cret%ff@h/d", "UTF-8"),
            ("postgres://u:s3cret@one,two/d", "several hosts"),
            ("postgres://u:s3cret@one:1,two:2/d", "several hosts"),
            ("postgres:///d?host=one,two&password=s3cret", "several hosts"),
            ("postgres://u:s3cret@::1/d", "brackets"),
            ("postgres://u:s3cret@[::1/d", "bracket"),
            ("postgres://u:s3cret@[::1]5432/d", "bracket"),
            ("postgres://u:s3cret@h/d?sslmode=s3cret", "sslmode is none of disable"),
            ("postgres://u@h/d?sslmode", "has no ="),
            ("postgres://u@h/d?pass=s3cret", "password may be meant"),
            ("postgres://u@h/d?passwort=s3cret", "password may be meant"),
            ("postgres://u@h/d?s3cret=1", "parameter 1"),
            ("postgres://u@h/d?ssl=s3cret", "ssl"),
            ("postgres://u:s3cret@h/d?sslcrl=x", "sslcrl is not supported"),
            ("postgres://u:s3cret@h/d?channel_binding=require", "channel_binding"),
            ("postgres://u:s3cret@h/d?currentSchema=x", "search_path"),
            ("postgres://u:s3cret@h/d?port=x", "the port"),
            ("postgres://u:s3cret@h/d?hostaddr=x", "hostaddr"),
            ("postgres://u:s3cret@h/d?hostaddr=::1", "host and hostaddr"),
            ("postgres://u:s3cret@h/d?sslrootcert=", "sslrootcert"),
            ("postgres://u:s3cret@@h/d", "@"),
            ("postgres://u@h/d?x=%s3cret", "%25"),
        ] {
            let refused = parse(text).map(|_| "taken").unwrap_err().to_string();
            assert!(refused.contains(named), "{text}: {refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn only_ways_off_this_machine_are_remote() {
        for (text, is_remote) in [
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.1/d", false),
            ("postgres://u@[::1]/d", false),
            ("postgres:///d?host=/tmp", false),
            ("postgres://u@database/d", true),
            ("postgres://u@10.0.0.1/d", true),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.is_remote(&url.options().unwrap()), is_remote, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_password_survives_when_it_is_escaped_and_none_is_shown_when_it_is_not(password in "\\PC{6,20}") {
            prop_assume!(password.chars().all(|character| !"postgresuhd".contains(character)));
            let mut url = "postgres://u:".to_owned();
            password.bytes().for_each(|byte| push_escaped(&mut url, byte));
            let parsed = DatabaseUrl::parse(&format!("{url}@h/d")).unwrap();
            let found = parsed.parameters.iter().find(|(name, _)| name == "password").unwrap();
            prop_assert_eq!(&*found.1, &password);
            if let Err(bad) = parse(&format!("postgres://u:{password}@h/d")) {
                prop_assert!(!bad.to_string().contains(&password));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _parsed = parse(&text);
            let _parsed = parse(&format!("postgres://{text}"));
        }
    }
}
