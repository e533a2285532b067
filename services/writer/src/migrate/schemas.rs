//! Who else could change what the writer runs: the owner of schema `veilpost`, and whoever may create in it
//! or in schema `public`.

use crate::database::{DbError, Session, within};
use crate::start_retry::StartError;

/// The owner of schema `veilpost`, or of something in it, that is neither this role, nor one that it belongs
/// to, nor one that may do everything anyway.
const STRANGER: &str = "
    SELECT owner.rolname::text FROM (
        SELECT nspowner AS oid FROM pg_namespace WHERE nspname = 'veilpost'
      UNION SELECT relowner FROM pg_class WHERE relnamespace = to_regnamespace('veilpost')
      UNION SELECT proowner FROM pg_proc WHERE pronamespace = to_regnamespace('veilpost')
      UNION SELECT typowner FROM pg_type WHERE typnamespace = to_regnamespace('veilpost')
    ) found JOIN pg_roles owner ON owner.oid = found.oid
    WHERE NOT owner.rolsuper AND NOT pg_has_role(current_user, owner.oid, 'MEMBER')
      AND owner.oid <> (SELECT datdba FROM pg_database WHERE datname = current_database())
    LIMIT 1";

/// Who may create in schema `veilpost` beside its owner.
const CREATOR: &str = "
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE r.rolname::text END
    FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname = 'veilpost' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
      AND NOT coalesce(r.rolsuper, false)
      AND (a.grantee = 0 OR NOT pg_has_role(current_user, a.grantee, 'MEMBER'))
    LIMIT 1";

const PUBLIC_IS_OPEN: &str = "
    SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                   WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')";

/// Checks the schemas before anything is created. Err when somebody else could replace what the writer runs.
pub(super) async fn check_schemas(session: &mut Session) -> Result<(), StartError> {
    if let Some(owner) = first(session, STRANGER).await? {
        return Err(StartError::Final(format!(
            "schema veilpost, or something in it, belongs to role {owner}, which could change what the writer \
             runs: drop it, make this role its owner, or run the writer with --migrate false"
        )));
    }
    if let Some(role) = first(session, CREATOR).await? {
        return Err(StartError::Final(format!(
            "{role} may create in schema veilpost, and could change what the writer runs: \
             REVOKE CREATE ON SCHEMA veilpost FROM {role}"
        )));
    }
    let deadline = session.deadline();
    let is_open = sqlx::query_scalar(PUBLIC_IS_OPEN).fetch_one(session.connection());
    if within(deadline, is_open).await? {
        tracing::warn!(
            "every role may create in schema public; the writer's own statements are safe, but triggers and \
             defaults that rely on the search path are not: REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        );
    }
    Ok(())
}

/// Err when this role may not make schema `veilpost`.
pub(super) async fn check_right_to_create(session: &mut Session) -> Result<(), StartError> {
    const NEEDED: &str = "
        SELECT format('role %I may not create schema veilpost: GRANT CREATE ON DATABASE %I TO %I, or \
                       CREATE SCHEMA veilpost AUTHORIZATION %I', current_user, current_database(), current_user, current_user)
        WHERE NOT has_database_privilege(current_database(), 'CREATE')";
    match first(session, NEEDED).await? {
        Some(needed) => Err(StartError::Final(needed)),
        None => Ok(()),
    }
}

async fn first(session: &mut Session, query: &'static str) -> Result<Option<String>, DbError> {
    let deadline = session.deadline();
    let found = sqlx::query_scalar(query).fetch_optional(session.connection());
    within(deadline, found).await
}
