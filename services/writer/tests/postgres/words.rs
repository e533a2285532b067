//! What a rejected or undecided record's detail says: what is wrong, of what, whose, and what to do.

use veilpost_proto::v1::{Reason, Value};

use crate::masker::{LEFT, REJECTED, STORED, only_rejection, record, text};
use crate::test_database::TestDatabase;

const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad');
    CREATE DOMAIN address AS inet;
    CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
    CREATE TABLE kinds (c_inet inet, c_domain address, c_mood mood, c_float double precision, c_bytea bytea,
        c_point point, c_range int4range, c_xml xml, c_bit bit(3), c_regclass regclass,
        c_tsquery tsquery, c_uuid uuid, c_interval interval, c_money money, c_numeric numeric(5,2), c_oid oid,
        c_even even)";

/// Columns, values that their types refuse, and what is said of them.
const REFUSED: [(&str, &str, &str); 16] = [
    ("c_inet", "s3cret", "no value of type inet (SQLSTATE 22P02)"),
    ("c_domain", "s3cret", "no value of type inet (SQLSTATE 22P02)"),
    ("c_mood", "s3cret", "no value of type public.mood (SQLSTATE 22P02)"),
    ("c_float", "s3cret", "not a number: no value of type double precision (SQLSTATE 22P02)"),
    ("c_bytea", "\\xs3cret", "no value of type bytea (SQLSTATE 22023)"),
    ("c_point", "s3cret", "no value of type point (SQLSTATE 22P02)"),
    ("c_range", "[9,1)", "no value of type int4range (SQLSTATE 22000)"),
    ("c_xml", "<s3cret>", "no value of type xml (SQLSTATE 2200N)"),
    ("c_bit", "1011", "not 3 bits"),
    (
        "c_regclass",
        "s3cret",
        "no value of type regclass: nothing in the database has that name (SQLSTATE 42P01)",
    ),
    ("c_tsquery", "s3cret &", "no value of type tsquery: its syntax is wrong (SQLSTATE 42601)"),
    ("c_uuid", "s3cret", "no value of type uuid (SQLSTATE 22P02)"),
    ("c_interval", "s3cret", "no value of type interval (SQLSTATE 22007)"),
    ("c_oid", "99999999999", "out of range for type oid (SQLSTATE 22003)"),
    ("c_numeric", "12,50", "not a number: no value of type numeric(5,2) (SQLSTATE 22P02)"),
    ("c_even", "3", "violates the check constraint even_check of domain public.even (SQLSTATE 23514)"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_is_described_by_its_columns_type_and_never_shown() {
    let database = TestDatabase::with(TYPES).await;
    let writer = database.ready_writer(&["--table", "kinds"]).await;
    for (column, value, expected) in REFUSED {
        let mut stream = writer.open("kinds", &[column]).await.unwrap();
        let receipt = stream.store(vec![record(column, vec![text(value)])]).await;
        let (_, detail) = only_rejection(&receipt);
        // What the catalogue's constraint says has its own name already.
        let expected =
            if column == "c_even" { expected.to_owned() } else { format!("column {column}: {expected}") };
        assert_eq!(detail, expected);
        assert!(!detail.contains("s3cret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_constraint_is_named_with_its_kind_and_its_table() {
    let setup = "CREATE TABLE known (id text PRIMARY KEY);
        CREATE TABLE user_logins (user_id text CONSTRAINT no_poison CHECK (user_id <> 'poison'),
            ref text CONSTRAINT is_known REFERENCES known, once text CONSTRAINT only_once UNIQUE,
            span int4range, CONSTRAINT apart EXCLUDE USING gist (span WITH &&));
        INSERT INTO user_logins (once, span) VALUES ('a', '[1,5)')";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    for (column, value, expected) in [
        ("user_id", "poison", "check constraint no_poison of table public.user_logins (SQLSTATE 23514)"),
        ("ref", "nobody", "foreign key is_known of table public.user_logins (SQLSTATE 23503)"),
        ("once", "a", "unique constraint only_once of table public.user_logins (SQLSTATE 23505)"),
        ("span", "[2,3)", "exclusion constraint apart of table public.user_logins (SQLSTATE 23P01)"),
    ] {
        let mut stream = writer.open("user_logins", &[column]).await.unwrap();
        let receipt = stream.store(vec![record(column, vec![text(value)])]).await;
        assert_eq!(receipt.outcomes, [REJECTED], "{column}");
        assert_eq!(only_rejection(&receipt), (Reason::Constraint, &*format!("violates the {expected}")));
    }
}

/// A trigger that runs `statement` for the user `poison` only.
fn trigger(statement: &str, rights: &str) -> String {
    format!(
        "CREATE TABLE user_logins (user_id text, locale text);
         CREATE SCHEMA app; CREATE TABLE app.audit (user_id text); CREATE SEQUENCE numbers;
         CREATE FUNCTION count_one() RETURNS int LANGUAGE sql AS 'SELECT 1';
         REVOKE EXECUTE ON FUNCTION count_one() FROM PUBLIC;
         CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql {rights} AS
             $$ BEGIN IF NEW.user_id = 'poison' THEN {statement}; END IF; RETURN NEW; END $$;
         CREATE TRIGGER log BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION log()"
    )
}

/// The detail with which one record is left, while another one is stored.
async fn detail_of_poison(database: &TestDatabase, columns: &[&str], poison: Vec<Value>) -> (String, String) {
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role]).await.unwrap();
    let writer = database.start_writer_as(&role, &["--migrate", "false", "--connections", "1"]);
    writer.wait_until_ready().await;
    if columns.len() > 1 {
        database
            .sql(&format!(
                "REVOKE INSERT ON user_logins FROM {role}; GRANT INSERT (user_id) ON user_logins TO {role}"
            ))
            .await;
    }
    let mut failing = writer.open("user_logins", columns).await.unwrap();
    failing.send(vec![record("poison", poison)]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    // The record is left once others are stored since its first failure alone, however long that takes.
    let left = async {
        for number in 0.. {
            let stored = stream.store(vec![record(number, vec![text("fine")])]).await;
            assert_eq!(stored.outcomes, [STORED]);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let receipt = tokio::select! {
        receipt = failing.receipt() => receipt.unwrap(),
        () = left => unreachable!("it never ends"),
    };
    assert_eq!(receipt.outcomes, [LEFT]);
    let (reason, detail) = only_rejection(&receipt);
    assert_eq!(reason, Reason::Undecided);
    (role, detail.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_a_trigger_lacks_is_named_with_role_object_owner_and_grant() {
    for (statement, lacks, grant) in [
        ("INSERT INTO app.audit VALUES (NEW.user_id)", "USAGE ON SCHEMA app", "GRANT USAGE ON SCHEMA app"),
        (
            "PERFORM user_id FROM user_logins",
            "SELECT, UPDATE, DELETE ON TABLE public.user_logins",
            "GRANT SELECT ON TABLE public.user_logins",
        ),
        (
            "PERFORM nextval('numbers')",
            "USAGE ON SEQUENCE public.numbers",
            "GRANT USAGE ON SEQUENCE public.numbers",
        ),
        (
            "PERFORM count_one()",
            "EXECUTE ON FUNCTION public.count_one()",
            "GRANT EXECUTE ON FUNCTION public.count_one()",
        ),
    ] {
        let database = TestDatabase::with(&trigger(statement, "")).await;
        let (role, detail) = detail_of_poison(&database, &["user_id"], vec![text("poison")]).await;
        for expected in [
            "SQLSTATE 42501".to_owned(),
            format!("role {role} lacks: {lacks}."),
            format!("Its owner {} grants", database.name),
            format!("`{grant} TO {role}`"),
            "trigger log (function public.log()) of table public.user_logins".to_owned(),
        ] {
            assert!(detail.contains(&expected), "{expected} is not in: {detail}");
        }
        assert!(!detail.contains("poison"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_raises_the_code_itself_shows_nothing_of_its_text() {
    let raise = "RAISE 'permission denied for table %', NEW.user_id USING ERRCODE = '42501'";
    let database = TestDatabase::with(&trigger(raise, "")).await;
    let (_, detail) = detail_of_poison(&database, &["user_id"], vec![text("poison")]).await;
    assert!(detail.contains("Postgres does not name") && detail.contains("trigger log"), "{detail}");
    assert!(!detail.contains("poison"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_whose_rights_a_trigger_runs_is_named_as_well() {
    let insert = "INSERT INTO app.audit VALUES (NEW.user_id)";
    let database =
        TestDatabase::with(&trigger(insert, "SECURITY DEFINER SET search_path = pg_catalog")).await;
    database.postgres.create_role(&format!("{}_definer", database.name)).await.unwrap();
    let mut admin = database.connect_as_admin().await;
    let owner = format!(
        "ALTER FUNCTION log() OWNER TO {0}_definer; GRANT USAGE ON SCHEMA app TO {0}_definer",
        database.name
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(owner)).execute(&mut admin).await.unwrap();
    let (_, detail) = detail_of_poison(&database, &["user_id"], vec![text("poison")]).await;
    let expected = format!("GRANT INSERT ON TABLE app.audit TO {}_definer", database.name);
    assert!(detail.contains(&expected), "{expected} is not in: {detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_role_may_not_fill_is_named() {
    let database = TestDatabase::with(&trigger("NULL", "")).await;
    let values = vec![text("poison"), text("de")];
    let (role, detail) = detail_of_poison(&database, &["user_id", "locale"], values).await;
    let expected = format!("role {role} lacks: INSERT (locale) ON TABLE public.user_logins.");
    assert!(detail.contains(&expected), "{expected} is not in: {detail}");
}
