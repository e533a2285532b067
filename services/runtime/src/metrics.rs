//! The names of the metrics that every service has.

/// Always 1; the label `version` says which version runs.
pub(crate) const BUILD_INFO: &str = "veilpost_build_info";

/// Streams to the service downstream that are open.
pub(crate) const LINK_OPEN_STREAMS: &str = "veilpost_link_open_streams";

/// Records sent to one replica and not answered yet; label `address`.
pub(crate) const LINK_UNRECEIPTED_RECORDS: &str = "veilpost_link_unreceipted_records";

/// Records sent again because their stream ended.
pub(crate) const LINK_RESENT_RECORDS: &str = "veilpost_link_resent_records_total";

/// Streams replaced because a receipt did not come in time.
pub(crate) const LINK_OVERDUE_STREAMS: &str = "veilpost_link_overdue_streams_total";

/// Records left in the source because streams broke while they were on them.
pub(crate) const LINK_LEFT_RECORDS: &str = "veilpost_link_left_records_total";

/// Streams refused because of what their sender is set up with.
pub(crate) const REFUSED_STREAMS: &str = "veilpost_refused_streams_total";

/// When this service's certificate expires, in seconds since 1970.
pub(crate) const TLS_CERTIFICATE_EXPIRY: &str = "veilpost_tls_certificate_expiry_timestamp_seconds";

/// Connections and calls refused; label `reason`.
pub(crate) const TLS_REFUSED: &str = "veilpost_tls_refused_total";
