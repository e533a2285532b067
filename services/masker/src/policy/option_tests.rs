//! Options of columns that are refused.

use super::Policy;

#[test]
fn wrong_options_are_named_with_their_place_and_a_way_out() {
    let cases: [(&str, &str, &str); 46] = [
        ("name='c'\nsuorce='/a'\ntransform='message-id'", "p.toml:4:1", "did you mean \"source\"?"),
        ("name='c'\nsource='/a'\ntransform='hmac_sha512'", "p.toml:5:11", "did you mean \"hmac-sha512\"?"),
        (
            "name='c'\nsource='/a'\ntransform='copy'\nnormalize=['trim','lowrcase']",
            "p.toml:6:19",
            "\"lowercase\"",
        ),
        (
            "name='c'\nsource='/a'\ntransform='copy'\nnormalize=['x']",
            "p.toml:6:12",
            "nfc, lowercase, ip, email, digits",
        ),
        ("name='c'\nsource='/a'\ntransform='copy'\nnormalize=['trim','nfc','trim']", "p.toml:6:25", "twice"),
        ("name='c'\nsource='/a'\ntransform='copy'\nnormalize='trim'", "p.toml:6:11", "a list of texts"),
        ("name='c'\nsource='/a'\ntransform='copy'\nnormalize=[]", "p.toml:6:11", "empty list"),
        ("name='c'\nsource='/a'\ntransform='copy'\nnormalize=[1]", "p.toml:6:12", "not an integer"),
        ("name='c'\nsource=''\ntransform='copy'\nnormalize=['trim']", "p.toml:6:11", "whole body"),
        ("name='c'\ntransform='sent-date'\nnormalize=['trim']", "p.toml:5:11", "not from the body"),
        ("name='c'\ntransform='trace-id'\nempty='null'", "p.toml:5:7", "not from the body"),
        ("name='c'\nsource='/a'\ntransform='copy'\nempty='NULL'", "p.toml:6:7", "\"null\""),
        ("name='c'\nsource='/a'\ntransform='copy'\nempty=true", "p.toml:6:7", "a text, not a boolean"),
        ("name='c'\nsource='/a'\ntransform='copy'\ndefault=[]", "p.toml:6:9", "not a list"),
        ("name='c'\nsource='/a'\ntransform='copy'\ndefault=2026-11-29", "p.toml:6:9", "table or date"),
        ("name='c'\nsource='/a'\ntransform='copy'\ndefault=nan", "p.toml:6:9", "finite"),
        ("name='c'\nsource='/a'\ntransform='copy'\ndefault=\"\\u0000\"", "p.toml:6:9", "U+0000"),
        ("name='c'\nsource=''\ntransform='copy'\ndefault='x'", "p.toml:6:9", "always a body"),
        ("name='c'\ntransform='message-id'\ndefault='x'", "p.toml:5:9", "always a value"),
        ("name='c'\nsource='/a'\ntransform='copy'\nwithout=['a']", "p.toml:6:10", "\"/a\""),
        ("name='c'\nsource='/a'\ntransform='copy'\nwithout=['']", "p.toml:6:10", "would leave nothing"),
        (
            "name='c'\nsource='/a'\ntransform='copy'\nwithout=['/a','/a/b']",
            "p.toml:6:15",
            "inside of another",
        ),
        (
            "name='c'\nsource='/a'\ntransform='copy'\nwithout=['/a']\nnormalize=['trim']",
            "p.toml:7:11",
            "for scalars",
        ),
        ("name='c'\nsource='/a'\ntransform='sha512'\nwithout=['/a']", "p.toml:6:9", "\"copy\"; remove it"),
        ("name='c'\nsource='/a'\ntransform='ip-prefix'\nv4=33", "p.toml:6:4", "from 0 to 32"),
        ("name='c'\nsource='/a'\ntransform='ip-prefix'\nv6=-1", "p.toml:6:4", "from 0 to 128"),
        ("name='c'\nsource='/a'\ntransform='ip-prefix'\nv4='24'", "p.toml:6:4", "an integer, not a text"),
        ("name='c'\nsource='/a'\ntransform='partial'", "p.toml:5:11", "`keep_first` or a `keep_last`"),
        ("name='c'\nsource='/a'\ntransform='partial'\nkeep_last=0", "p.toml:6:11", "from 1 to 1000"),
        (
            "name='c'\nsource='/a'\ntransform='partial'\nkeep_first=99999999999",
            "p.toml:6:12",
            "from 1 to 1000",
        ),
        ("name='c'\nsource='/a'\ntransform='partial'\nkeep_last=1\nmask='**'", "p.toml:7:6", "one character"),
        ("name='c'\nsource='/a'\ntransform='partial'\nkeep_last=1\nmask=''", "p.toml:7:6", "one character"),
        ("name='c'\nsource='/a'\ntransform='redact'\nvalue=\"\\u0000\"", "p.toml:6:7", "U+0000"),
        ("name='c'\nsource='/a'\ntransform='date'", "p.toml:5:11", "a `format`"),
        ("name='c'\nsource='/a'\ntransform='date'\nformat='%d.%m.'", "p.toml:6:8", "gives no day"),
        (
            "name='c'\nsource='/a'\ntransform='date'\nformat='%F'\ntimezone='UTC'",
            "p.toml:7:10",
            "\"ingest-date\"",
        ),
        ("name='c'\nsource='/a'\ntransform='timestamp'\nformat='%F'", "p.toml:6:8", "a day and an hour"),
        (
            "name='c'\nsource='/a'\ntransform='timestamp'\nformat='%F %T %z'\ntimezone='UTC'",
            "p.toml:6:8",
            "no effect",
        ),
        (
            "name='c'\nsource='/a'\ntransform='timestamp'\nformat='%F %T'\ntimezone='Europe/Berln'",
            "p.toml:7:10",
            "did you mean \"Europe/Berlin\"?",
        ),
        ("name='c'\ntransform='sent-date'\ntimezone='CET-1'", "p.toml:5:10", "unknown time zone"),
        ("name='c'\ntransform='sent-date'\ntimezone='Etc/Unknown'", "p.toml:5:10", "unknown time zone"),
        ("name='c'\nsource='/a'\ntransform='boolean'\ntrue=['0']", "p.toml:5:11", "both true and false"),
        ("name='c'\nsource='/a'\ntransform='boolean'\ntrue='yes'", "p.toml:6:6", "a list of texts"),
        ("name='c'\nsource='/a'\ntransform='boolean'\nfalse=[0]", "p.toml:6:8", "not an integer"),
        ("name='c'\nsource='/a'\ntransform='copy'\nformat='%F'", "p.toml:6:8", "\"date\" or \"timestamp\""),
        ("name='c'\nsource='/a'\ntransform='copy'\nvalue=1", "p.toml:6:7", "\"redact\""),
    ];
    for (keys, place, advice) in cases {
        let refusal =
            Policy::parse(&format!("table = \"t\"\n[[column]]\n{keys}\n"), "p.toml").unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("{place}: ")), "{keys}: {refusal}");
        assert!(refusal.contains(advice), "{keys}: {refusal}");
    }
}
