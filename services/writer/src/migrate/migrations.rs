//! The files of `migrations`, embedded in the executable. sqlx has a macro for that, with which the compiler
//! would have to compile sqlx, tokio and rustls once more for itself.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType};

/// Version, name and statements of each file, in order.
const FILES: [(i64, &str, &str); 2] = [
    (1, "veilpost", include_str!("../../migrations/0001_veilpost.sql")),
    (2, "rejected", include_str!("../../migrations/0002_rejected.sql")),
];

pub(super) fn migrations() -> Vec<Migration> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
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
