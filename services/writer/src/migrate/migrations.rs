//! The files of `migrations`, embedded in the executable. sqlx has a macro for that, with which the compiler
//! would have to compile sqlx, tokio and rustls once more for itself.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType};

/// Version, name and statements of each file, in order.
const FILES: [(i64, &str, &str); 3] = [
    (1, "veilpost", include_str!("../../migrations/0001_veilpost.sql")),
    (2, "rejected", include_str!("../../migrations/0002_rejected.sql")),
    (3, "input_error", include_str!("../../migrations/0003_input_error.sql")),
];

/// The checksum of the first edition of file 1, as the databases have it that were migrated with it. That
/// edition also made the default table, which is now made only where it is needed.
const FIRST_EDITION: [u8; 48] = [
    0x5a, 0x87, 0x3f, 0x73, 0x1f, 0x32, 0xbd, 0x1d, 0x64, 0x97, 0xf9, 0x7a, 0x77, 0x53, 0xb1, 0xcf, //
    0xb7, 0x67, 0x13, 0x19, 0x61, 0xf9, 0x81, 0x8a, 0x6c, 0x5f, 0x44, 0x04, 0xeb, 0x77, 0x63, 0xf8, //
    0xe4, 0x53, 0xcb, 0x62, 0x35, 0xc4, 0xa1, 0x66, 0x30, 0x33, 0xef, 0xb3, 0xbf, 0x5e, 0xc3, 0xbb, //
];

pub(super) fn migrations() -> Vec<Migration> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        let migration =
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false);
        match version {
            1 => Migration { checksum: Cow::Borrowed(&FIRST_EDITION), ..migration },
            _ => migration,
        }
    };
    FILES.map(migration).into()
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_is_embedded_under_its_version_and_name() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, FILES.map(|(version, name, _)| format!("{version:04}_{name}.sql")));
    }
}
